# shellcheck shell=bash
# What the scripts in hack/ share. It is sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/bin
results=$root/build/results
export PATH=$bin:$PATH

say() { printf '\n==> %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# timed WHAT COMMAND...: says what is being done, does it, and says how long it took.
timed() {
  local what=$1 started=$SECONDS
  shift
  say "$what"
  "$@"
  echo "    done in $((SECONDS - started)) s: $what"
}

require_go() {
  command -v go >/dev/null || die "Go is not installed or not in PATH; install Go 1.26 or newer"
  local version
  version=$(cd "$root" && go env GOVERSION)
  [[ $(printf '%s\n' go1.26 "$version" | sort -V | head -n1) == go1.26 ]] ||
    die "Go is $version at $(command -v go); install Go 1.26 or newer"
}

# require_commands COMMAND=HINT...: names everything that is missing at once.
require_commands() {
  local pair missing=0
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null && continue
    printf 'error: %s is not installed or not in PATH; %s\n' "${pair%%=*}" "${pair#*=}" >&2
    missing=1
  done
  [[ $missing == 0 ]] || exit 1
}

# result NAME VALUE UNIT [FLOOR RATIO]: one figure, as the files in build/results have them.
result() {
  printf '{"name":"%s","value":%s,"unit":"%s"' "$1" "$2" "$3"
  [[ -n ${4:-} ]] && printf ',"floor":%s' "$4"
  [[ -n ${5:-} ]] && printf ',"ratio":%s' "$5"
  printf '}\n'
}

# write_results NAME: makes build/results/NAME.json of the figures read from stdin, one a line.
write_results() {
  mkdir -p "$results"
  { echo '['; sed '$!s/$/,/; s/^/  /'; echo ']'; } >"$results/$1.json"
}
