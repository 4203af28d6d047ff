#!/usr/bin/env bash
# Expected: a particle whose score (cc) is missing gets NaN or 0 in the Dynamo table that dynamotable writes.
# Seen: dynamotable 0.3.0 writes nothing in its place. Columns are parted by blanks, so the row has 41 fields for
#   42, and all later columns of this row move one to the left. Read again by the same library, its y becomes x
#   and its z becomes y, without a message.
# Why it matters: a score is missing wherever tables of two programs were joined. The particle is then cropped
#   from another place. Fill missing values before writing.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export TMPDIR="$T" OMP_NUM_THREADS=1
cd "$T"
changed() { echo "CHANGED: $*"; exit 1; }

python3 -m venv venv
venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check dynamotable==0.3.0 pandas==3.1.1 numpy==2.4.6 \
  || { echo "could not install the packages"; exit 2; }
echo "versions: dynamotable 0.3.0 pandas 3.1.1 numpy 2.4.6"

cat >table.py <<'END'
import sys, dynamotable, numpy as np, pandas as pd
table = pd.DataFrame({"tag": [1, 2, 3], "cc": [0.5, np.nan, 0.25], "tomo": [7, 7, 7], "x": [10.0, 20.0, 30.0],
    "y": [100.0, 200.0, 300.0], "z": [1000.0, 2000.0, 3000.0]})
dynamotable.write(table, "out.tbl")
fields = [len(line.split()) for line in open("out.tbl")]
back = dynamotable.read("out.tbl")
print("fields:", fields)
print(back[["tag", "cc", "tomo", "x", "y", "z"]].to_string(index=False))
sys.exit(0 if fields == [42, 41, 42] and back.loc[1, ["x", "y"]].tolist() == [200, 2000] else 1)
END
venv/bin/python table.py || changed "the row keeps its columns"
echo "As described."
