#!/usr/bin/env bash
# Judges public sets that lie in a folder of your own, one folder a set, and writes a row a set beside a linear model and people.
#
#   evals/public.sh DATA ENGINE OUT      e.g.  evals/public.sh ~/sets nano build/public
#
# DATA/hatexplain, DATA/edos, ... as their publishers lay them out (`moderator eval prepare --help`). Runs are taken up where they
# stopped. Suites, runs and pages stay in OUT; the Markdown holds no text of any post. MODERATOR and PYTHON may name the programs.
set -euo pipefail
data=$1 engine=$2 out=$3 here=$(cd "$(dirname "$0")" && pwd)
moderator=${MODERATOR:-moderator}
runs=()

run() { # NAME SPLIT SET [options of prepare]
  local name=$1 split=$2 set=$3; shift 3
  [ -e "$out/$name.yaml" ] || "$moderator" eval prepare "$set" "$(compgen -G "$data/$set*" | head -1)" --split all --out "$out/$name.yaml" "$@" > "$out/$name.log" 2>&1
  "$moderator" eval run "$out/$name.yaml" --engine "$engine" --split "$split" --out "$out/runs/$name" --resume > /dev/null
  runs+=("$out/runs/$name")
}

mkdir -p "$out/runs"
run hatexplain test hatexplain
run hatexplain-toxic test hatexplain --policy "$here/policies/toxic.md" --violates hatespeech,offensive
run edos test edos
run convabuse test convabuse
run misogyny test misogyny
run hatemoji test hatemoji
run youtube-spam test youtube-spam
run sms-spam test sms-spam
run surge-toxicity test surge-toxicity
"$moderator" eval score "${runs[@]}" --markdown "$out/test-splits.md" > "$out/test-splits.txt"

"${PYTHON:-python}" "$here/three_classes.py" "$out/runs/hatexplain" "$out/runs/hatexplain-toxic" > "$out/three-classes.md"

runs=()
run stormfront test stormfront
"$moderator" eval score "${runs[@]}" --linear-from "$out/hatexplain.yaml" --markdown "$out/transfer.md" > "$out/transfer.txt"

runs=()
run davidson-whole all davidson
run convabuse-whole all convabuse
run toxic-spans-whole all toxic-spans
"$moderator" eval score "${runs[@]}" --markdown "$out/people.md" > "$out/people.txt"

page() { # TITLE FILE
  printf '# %s\n\n' "$1"
  sed -e '/^- .*@/d' -e '/^Intervals are at 95 %/d' "$2"
}
{
  page 'Test splits' "$out/test-splits.md"
  page 'HateXplain, three classes of both runs: macro F1' "$out/three-classes.md"
  page 'Stormfront, beside a linear model fitted on HateXplain' "$out/transfer.md"
  page 'Whole sets, with all their annotators' "$out/people.md"
  tail -1 "$out/people.md"
} | cat -s > "$out/summary.md"
echo "$out/summary.md"
