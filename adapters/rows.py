"""Writes the rows of the example adapters `order` and `shell` from templates; those of `pirate` are written by hand.

    python adapters/rows.py

`held-out.jsonl` has other fillings of the same templates, with dishes and folders that no training row has.
"""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent

# --- order: a sentence at a café's till becomes JSON ---

DISHES = {
    "train": [
        ("espresso", "espressos"), ("flat white", "flat whites"), ("cappuccino", "cappuccinos"), ("latte", "lattes"),
        ("green tea", "green teas"), ("black tea", "black teas"), ("orange juice", "orange juices"),
        ("mineral water", "mineral waters"), ("croissant", "croissants"), ("carrot cake", "carrot cakes"),
        ("cheese toast", "cheese toasts"), ("fruit salad", "fruit salads"), ("tomato soup", "tomato soups"),
        ("pancake", "pancakes"), ("apple pie", "apple pies"), ("lemonade", "lemonades"), ("bagel", "bagels"),
        ("iced coffee", "iced coffees"),
    ],
    "held-out": [
        ("hot chocolate", "hot chocolates"), ("blueberry muffin", "blueberry muffins"), ("mint tea", "mint teas"),
        ("waffle", "waffles"), ("flat white", "flat whites"), ("tomato soup", "tomato soups"),
    ],
}  # fmt: skip
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
HERE_PHRASES = [
    "Table {table} would like {items}.",
    "{Items} for table {table}, please.",
    "Can we get {items} at table {table}?",
    "The guests at table {table} ordered {items}.",
    "Please bring {items} to table {table}.",
]
TO_GO_PHRASES = [
    "{Items} to go, please.",
    "I would like {items} to take away.",
    "Could I have {items} to go?",
]


def listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(pick: random.Random, dish: tuple[str, str], number: int) -> str:
    if number == 1 and pick.random() < 0.5:
        return f"{'an' if dish[0][0] in 'aeiou' else 'a'} {dish[0]}"
    return f"{NUMBERS[number]} {dish[number > 1]}"


def order_row(pick: random.Random, part: str) -> tuple[str, str]:
    dishes = pick.sample(DISHES[part], pick.choice([1, 2, 2, 3]))
    chosen = [(dish, pick.choice([1, 1, 1, 2, 2, 3, 4, 5, 6])) for dish in dishes]
    items = listed([counted(pick, dish, number) for dish, number in chosen])
    to_go = pick.random() < 0.3
    table = None if to_go else pick.randint(1, 30)
    phrase = pick.choice(TO_GO_PHRASES if to_go else HERE_PHRASES)
    answer = dict(table=table, to_go=to_go, items=[dict(name=dish[0], quantity=n) for dish, n in chosen])
    return phrase.format(table=table, items=items, Items=items[0].upper() + items[1:]), json.dumps(answer)


# --- shell: a wish becomes one command ---

WORDS = {
    "train": dict(
        dir=["/var/log", "/etc", "src", "docs", "/tmp", "build", "/home/data", "images", "~/projects", "backup"],
        file=["notes.txt", "server.log", "report.csv", "config.yaml", "main.py", "access.log", "README.md", "run.sh"],
        ext=["py", "txt", "log", "csv", "json", "jpg", "ts"],
        word=["error", "timeout", "password", "warning", "import", "failed"],
        other=["success", "retry", "secret", "notice", "export", "passed"],
        port=["8080", "3000", "5432", "443"],
        n=["5", "10", "20", "50", "100"],
    ),
    "held-out": dict(
        dir=["/opt/app", "tests", "/srv/www", "~/music"],
        file=["todo.md", "queue.log", "prices.csv", "start.sh"],
        ext=["md", "png", "xml"],
        word=["panic", "license"],
        other=["calm", "contract"],
        port=["9090", "6379"],
        n=["3", "15", "30"],
    ),
}
COMMANDS = [
    ("ls -la {dir}", "List all files in {dir}, hidden ones too.", "Show everything in {dir}, including hidden files."),
    ("find {dir} -name '*.{ext}'", "Find all .{ext} files in {dir}.", "Which {ext} files are there under {dir}?"),
    ("wc -l {file}", "Count the lines in {file}.", "How many lines does {file} have?"),
    ("tail -n {n} {file}", "Show the last {n} lines of {file}.", "Print the final {n} lines of {file}."),
    ("head -n {n} {file}", "Show the first {n} lines of {file}.", "Print the top {n} lines of {file}."),
    ("tail -f {file}", "Follow {file} as it grows.", "Watch {file} for new lines."),
    (
        "grep -rn '{word}' {dir}",
        "Search for {word} in all files under {dir}.",
        "Find the word {word} anywhere in {dir}.",
    ),
    ("grep -n '{word}' {file}", "Show the lines with {word} in {file}.", "Search {file} for {word}."),
    ("grep -c '{word}' {file}", "How many lines of {file} contain {word}?", "Count the lines with {word} in {file}."),
    ("du -sh {dir}", "How much space does {dir} take?", "Show the total size of {dir}."),
    (
        "du -ah {dir} | sort -rh | head -n {n}",
        "Show the {n} largest files in {dir}.",
        "What are the {n} biggest files in {dir}?",
    ),
    ("mkdir -p {dir}", "Create the folder {dir}.", "Make a directory called {dir}."),
    ("chmod +x {file}", "Make {file} executable.", "Allow {file} to be run."),
    ("tar -czf backup.tar.gz {dir}", "Pack {dir} into backup.tar.gz.", "Compress {dir} as backup.tar.gz."),
    ("cp {file} {dir}", "Copy {file} to {dir}.", "Put a copy of {file} into {dir}."),
    ("mv {file} {dir}", "Move {file} to {dir}.", "Put {file} into {dir}."),
    ("find {dir} -name '*.{ext}' -delete", "Delete all .{ext} files in {dir}.", "Remove every {ext} file under {dir}."),
    ("find {dir} -type f | wc -l", "Count the files in {dir}.", "How many files are there in {dir}?"),
    (
        "find {dir} -mtime -{n}",
        "Which files in {dir} changed in the last {n} days?",
        "Find files in {dir} modified within {n} days.",
    ),
    (
        "sed -i 's/{word}/{other}/g' {file}",
        "Replace {word} with {other} in {file}.",
        "Change every {word} to {other} in {file}.",
    ),
    ("lsof -i :{port}", "Which process uses port {port}?", "What is listening on port {port}?"),
    ("sort -u {file}", "Sort {file} and drop duplicate lines.", "Show the unique lines of {file}, sorted."),
    ("df -h", "How much disk space is free?", "Show the free space on all disks."),
]  # fmt: skip


def shell_row(pick: random.Random, part: str) -> tuple[str, str]:
    command, *wishes = pick.choice(COMMANDS)
    filling = {name: pick.choice(words) for name, words in WORDS[part].items()}
    return pick.choice(wishes).format(**filling), command.format(**filling)


# --- files ---


def write(name: str, make_row, counts: dict[str, int]) -> None:
    pick = random.Random(name)
    seen = set()
    for part, count in counts.items():
        rows = []
        while len(rows) < count:
            prompt, answer = make_row(pick, part)
            if prompt in seen:
                continue
            seen.add(prompt)
            messages = [dict(role="user", content=prompt), dict(role="assistant", content=answer)]
            rows.append(json.dumps(dict(messages=messages)) + "\n")
        (HERE / name / f"{part}.jsonl").write_text("".join(rows))


if __name__ == "__main__":
    write("order", order_row, {"train": 120, "held-out": 20})
    write("shell", shell_row, {"train": 230, "held-out": 20})
