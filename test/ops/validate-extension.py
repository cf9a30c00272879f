"""Holds ops/kubernetes/inference-pool.yaml against the definitions of its kinds, which no Kubernetes has by itself.

    python test/ops/validate-extension.py               needs PyYAML and jsonschema
    python test/ops/validate-extension.py --take GO     takes the definitions from the Go modules below the folder GO

The definitions are those of gateway-api-inference-extension v1.1.0 and gateway-api v1.4.0 without their descriptions and
their rules in CEL, which nothing here evaluates. What a definition does not name is refused, as the API server would.
"""

import copy
import json
import pathlib
import sys

import jsonschema
import yaml

root = pathlib.Path(__file__).resolve().parents[2]
folder = root / "test/fixtures/kubernetes"
sources = {
    "InferencePool": "gateway-api-inference-extension@v1.1.0/config/crd/bases/inference.networking.k8s.io_inferencepools.yaml",
    "HTTPRoute": "gateway-api@v1.4.0/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
}


def bare(schema):
    """Without what is for people; closed where the API server is."""
    if isinstance(schema, list):
        return [bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    names = schema.get("properties")
    kept = {
        key: {name: bare(one) for name, one in value.items()} if key == "properties" else bare(value)
        for key, value in schema.items()
        if key not in ("description", "default", "format") and not key.startswith("x-kubernetes")
    }
    if isinstance(names, dict) and "additionalProperties" not in schema:
        kept["additionalProperties"] = False
    return kept


def take(modules):
    for kind, path in sources.items():
        crd = yaml.safe_load((pathlib.Path(modules) / "sigs.k8s.io" / path).read_text())
        group = crd["spec"]["group"]
        for version in crd["spec"]["versions"]:
            if version["name"] != "v1":
                continue
            schema = bare(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schema["properties"].pop("status", None)
            schema["properties"]["apiVersion"] = {"const": f"{group}/v1"}
            schema["properties"]["kind"] = {"const": kind}
            schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
            folder.mkdir(exist_ok=True)
            (folder / f"{kind}.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


def is_valid(thing, schemas):
    kind = thing.get("kind")
    if kind not in schemas:
        return False
    return next(jsonschema.Draft7Validator(schemas[kind]).iter_errors(thing), None) is None


def damaged(thing):
    """The same with one thing wrong, in turn."""
    for key in ("apiVersion", "kind", "spec"):
        yield {name: value for name, value in thing.items() if name != key}
    yield {**thing, "apiVersion": "networking.k8s.io/v1"}
    for path in list(paths(thing["spec"])):
        if isinstance(at(thing["spec"], path), dict):
            worse = copy.deepcopy(thing)
            at(worse["spec"], path)["unknownField"] = 1
            # Labels may be any.
            if "matchLabels" not in path:
                yield worse
        if isinstance(at(thing["spec"], path), int):
            worse = copy.deepcopy(thing)
            at(worse["spec"], path[:-1])[path[-1]] = "many"
            yield worse


def paths(value, start=()):
    yield start
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from paths(inner, (*start, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def main():
    if sys.argv[1:2] == ["--take"]:
        return take(sys.argv[2])
    schemas = {kind: json.loads((folder / f"{kind}.json").read_text()) for kind in sources}
    things = list(yaml.safe_load_all((root / "ops/kubernetes/inference-pool.yaml").read_text()))
    assert sorted(thing["kind"] for thing in things) == sorted(sources), "other kinds than those that are known"
    wrong = 0
    for thing in things:
        for error in jsonschema.Draft7Validator(schemas[thing["kind"]]).iter_errors(thing):
            raise SystemExit(f"{thing['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
        for worse in damaged(thing):
            wrong += 1
            if is_valid(worse, schemas):
                raise SystemExit(f"a damaged {thing['kind']} passes: {json.dumps(worse)}")
    print(f"inference-pool.yaml: {len(things)} objects are valid, {wrong} damaged ones are not")


main()
