# Starting and ending the cluster's processes. A process is known by its id together with the moment at which it
# started, so an id that the system has given to somebody else since is never signalled.

# started PID: when that process started (ticks since boot); fails when there is none, or only a zombie
started() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The name, in parentheses, may hold spaces; what follows it does not. The state is field 3, the start field 22.
  read -r -a stat <<<"${stat##*) }"
  [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}

# spawn NAME COMMAND...: starts it in a session of its own, so that no terminal's Ctrl-C reaches it
spawn() {
  local name=$1
  shift
  # Descriptor 9 is this script's lock.
  setsid "$@" >>"$STATE/log/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(started $!)" >"$RUN/$name.process"
}

# alive NAME: whether the process that was recorded under this name is there
alive() {
  local pid start
  { read -r pid start <"$RUN/$1.process"; } 2>/dev/null && [ "$(started "$pid")" = "$start" ]
}

# end NAME: kills it and waits until it is gone; nothing of it is kept, so nothing asks for a gentle end
end() {
  local pid start
  if alive "$1"; then
    read -r pid start <"$RUN/$1.process"
    kill -KILL "$pid"
    wait_for 10 "the end of $1" gone "$1"
  fi
  rm -f "$RUN/$1.process"
}

gone() { ! alive "$1"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= limit)); then
      echo "cluster: waited in vain for $what" >&2
      return 1
    fi
    sleep 0.1
  done
}
