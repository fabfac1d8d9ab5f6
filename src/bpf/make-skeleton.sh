#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make-skeleton.sh BPFTOOL OBJECT: the skeleton header on stdout. Generated code is not ours to lint.
set -e
echo '/* NOLINTBEGIN */'
"$1" gen skeleton "$2" name hf_capture_bpf
echo '/* NOLINTEND */'
