#!/usr/bin/env bash
# Every client here, unmodified, against a running server with the example adapters:
#
#     test/clients/run.sh http://127.0.0.1:8080 [name ...]
#
# Installs the clients from their registries into a folder that is removed again, or into CLIENTS_DIR, which is kept.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
url=${1:?the address of a server}
shift
wanted="$*"
folder=${CLIENTS_DIR:-$(mktemp -d)}
[ -n "${CLIENTS_DIR:-}" ] || trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"
failed=()

# uv installs within seconds what takes pip minutes.
[ -x "$folder/uv/bin/uv" ] || { python3 -m venv "$folder/uv" && "$folder/uv/bin/pip" install --quiet --disable-pip-version-check uv; }
venv() {
  local name=$1 requirements=$2
  [ -x "$folder/$name/bin/python" ] || "$folder/uv/bin/uv" venv --quiet "$folder/$name"
  "$folder/uv/bin/uv" pip install --quiet --python "$folder/$name/bin/python" -r "$here/$requirements"
}

run() {
  local name=$1
  shift
  [ -z "$wanted" ] || [[ " $wanted " == *" $name "* ]] || return 0
  local began=$SECONDS output code=0
  output=$(timeout --kill-after=10 180 "$@" 2>&1) || code=$?
  if [ "$code" -eq 0 ]; then
    echo "ok      $name ($((SECONDS - began)) s)"
  else
    echo "FAILED  $name ($code)"
    echo "$output" | tail -25
    failed+=("$name")
  fi
}

python() {
  local env=$1 name=$2
  run "$name" "$folder/$env/bin/python" "$here/$name.py" "$url"
}

export HF_HOME="$folder/hf" DO_NOT_TRACK=1 LITELLM_LOCAL_MODEL_COST_MAP=True
venv clients requirements.txt
for name in openai_client openai_responses langchain_openai_client litellm_client huggingface_client text_generation_client \
  instructor_client anthropic_client ollama_client prometheus_parser; do
  python clients "$name"
done
venv lorax requirements-lorax.txt
python lorax lorax_client
# It must ask the hub for nothing: its rows are a file, and its tokeniser is the server's.
venv evals requirements-lm-eval.txt
HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 python evals lm_eval_client

# llama.cpp's own tests of its server.
venv llama requirements-llama.txt
python llama llama_server_tests

# npm packages are installed beside copies of the scripts, since the project itself does not need them.
mkdir -p "$folder/npm"
cp "$here"/*.mjs "$folder/npm/"
(cd "$folder/npm" && npm install --silent --no-save --prefix . ai@7 @ai-sdk/openai@4 openai@7 autocannon@9 >/dev/null)
for name in ai-sdk openai-npm autocannon; do
  run "$name" node "$folder/npm/$name.mjs" "$url"
done

[ "${#failed[@]}" -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
