#!/bin/sh
# What Ray Serve starts in HAProxy's place; see haproxy.py.
exec "${MILLRACE_PYTHON:-python3}" -I -S "${0%.sh}.py" "$@"
