# Shared by the scripts of this folder; bash.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Exit status of a step that cannot be done on this machine; its last line says why.
skipped=77

skip() {
    echo "$*"
    exit "$skipped"
}

# readme_command WORD: the one line of README.md that starts with python3 and ends with WORD.
readme_command() {
    local found
    found=$(grep -E "^ *python3 -m venv .*$1\$" "$checkout/README.md" | sed 's/^ *//')
    if [ "$(printf '%s\n' "$found" | grep -c .)" != 1 ]; then
        echo "README.md should have exactly one command that ends with: $1" >&2
        return 1
    fi
    printf '%s\n' "$found"
}

# copy_checkout FOLDER: what a newcomer would have, without anything that git ignores.
copy_checkout() {
    mkdir -p "$1"
    if git -C "$checkout" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$checkout" ls-files -z --cached --others --exclude-standard |
            (cd "$checkout" && while IFS= read -r -d '' name; do [ ! -e "$name" ] || printf '%s\0' "$name"; done) |
            tar -C "$checkout" --null --no-recursion -T - -c | tar -C "$1" -x --no-same-owner
    else
        tar -C "$checkout" --exclude=./.venv --exclude=__pycache__ -c . | tar -C "$1" -x --no-same-owner
    fi
}
