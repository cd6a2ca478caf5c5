#!/bin/bash
# Stands in for a runner in the process launcher's tests: takes the boot token and the lifeline as a runner does, and
# starts what a command might. The last two arguments are the way to behave and the folder to take notes in.
mode="${*: -2:1}" notes="${*: -1}"
read -r token

note() { echo "$1" >> "$notes/pids"; }

# A daemon: its own session, and no parent but init or whoever inherits.
daemon() {
    ( setsid "$@" < /dev/null > /dev/null 2>&1 & )
}

case "$mode" in
plain)
    echo "$token" > "$notes/token"
    env > "$notes/env"
    ;;
quits)
    exit 3
    ;;
tree | stubborn)
    sleep 1000 &
    note $!
    bash -c 'trap "" TERM HUP INT; echo $$ >> "$0/pids"; while :; do sleep 1000; done' "$notes" &
    bash -c 'echo $$ >> "$0/pids"; kill -STOP $$' "$notes" &
    daemon bash -c 'echo $$ >> "$0/pids"; sleep 1000' "$notes"
    # Without the mark, but in the workspace.
    daemon env -i bash -c 'echo $$ >> "$0/pids"; sleep 1000' "$notes"
    # Without anything but the score that runners give to what they start.
    daemon env -i bash -c 'cd /; echo 1000 > /proc/self/oom_score_adj; echo $$ >> "$0/pids"; sleep 1000' "$notes"
    ;;
esac
if [ "$mode" = stubborn ]; then
    trap "" TERM
    note $$
    touch "$notes/ready"
    while :; do sleep 1000 < /dev/null & wait $!; done
fi
note $$
touch "$notes/ready"
# The lifeline.
read -r _
