//! A command runs as the same user as the supervisor, and must get nothing out of it nor bring it down.

mod rig;

use std::time::Duration;

use nix::unistd::geteuid;
use rig::{Rig, SOON, Setup};
use session::{Secret, SessionSecrets};

/// Tried from inside the session against its supervisor, `$runner`. Prints one line per attempt.
const ATTACK: &str = r#"
runner=$PPID
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name: GOT THROUGH"; else echo "$name: refused"; fi; }
try environ cat /proc/$runner/environ
try maps cat /proc/$runner/maps
try mem head -c1 /proc/$runner/mem
try descriptors ls /proc/$runner/fd/
try executable ls /proc/$runner/root/
try oom sh -c "echo 1000 > /proc/$runner/oom_score_adj"
try trace python3 -c '
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
sys.exit(0 if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) == 0 else 1)' $runner
try vm python3 -c '
import ctypes, sys
class Iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
here = ctypes.create_string_buffer(8)
local = Iovec(ctypes.cast(here, ctypes.c_void_p), 8)
remote = Iovec(0x400000, 8)
libc = ctypes.CDLL(None, use_errno=True)
got = libc.process_vm_readv(int(sys.argv[1]), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
sys.exit(1 if got == -1 and ctypes.get_errno() == 1 else 0)' $runner
try port python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: tty\r\ncliscale-role: operator\r\n\r\n")
sys.exit(1 if b" 401 " in s.recv(100) else 0)' $PORT
for signal in TERM INT HUP QUIT USR1 USR2 ALRM TSTP PIPE XCPU; do kill -$signal $runner; sh -c "kill -$signal $runner"; done
/bin/kill -TERM $runner
setsid sh -c "sleep 0.2; kill -TERM $runner; sleep 0.2" & wait
echo "descriptors here: $(ls /proc/self/fd | tr '\n' ' ')"
echo "score: $(cat /proc/self/oom_score_adj)"
env | grep -i -e boot -e secret -e CLISCALE_ | grep -v CLISCALE_SESSION_ID
echo "own: $OWN $PROMPT $CLAUDE_PROMPT"
echo survived
read x
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_nothing_out_of_its_supervisor_and_cannot_stop_it() {
    let uid = geteuid().is_root().then_some(65534);
    let rig = Rig::with(Setup { uid, ..Setup::default() }).await;
    let port = rig.address.rsplit(':').next().unwrap();
    let mut assignment = rig.assignment(rig.spec(ATTACK));
    assignment.secrets = SessionSecrets {
        env: [("OWN", "value-of-own"), ("PORT", port)].map(|(name, value)| (name.into(), Secret::new(value))).into(),
        prompt: Some(Secret::new("value-of-prompt")),
        code_auth: None,
    };
    assert_eq!(rig.controller.assign(&assignment).await.unwrap(), 200);
    let mut operator = rig.operator("a").await;
    operator.wait_for("survived", SOON).await.unwrap();
    let text = operator.text();
    assert!(!text.contains("GOT THROUGH") && text.matches(": refused").count() == 9, "{text}");
    assert!(text.contains("descriptors here: 0 1 2 3 \r\n"), "{text}");
    assert!(text.contains("score: 1000\r\n"), "{text}");
    assert!(text.contains("own: value-of-own value-of-prompt value-of-prompt\r\n"), "{text}");
    assert!(!text.contains(rig.controller.boot_token()) && !text.contains(&rig.secret), "{text}");
    assert!(!text.contains("CLISCALE_BOOT"), "{text}");
    // It still serves, and what was secret is in no log and in no process listing.
    operator.type_text("\n").await.unwrap();
    assert_eq!(rig.ended().await.exit_code, Some(0));
    let log = rig.log();
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", rig.pid())).unwrap();
    for secret in ["value-of-own", "value-of-prompt", rig.controller.boot_token(), &rig.secret, "GOT THROUGH"] {
        assert!(!log.contains(secret) && !arguments.contains(secret), "{secret} in {log}{arguments}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_supervisors_own_score_is_what_it_was() {
    let rig = Rig::running("echo ready; read x").await;
    rig.operator("a").await.wait_for("ready", SOON).await.unwrap();
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", rig.pid())).unwrap();
    assert_eq!(score, std::fs::read_to_string("/proc/self/oom_score_adj").unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_pid_1_it_obeys_only_signals_from_outside_its_namespace() {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let possible = std::process::Command::new(unshare[0]).args(&unshare[1..]).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "PID namespaces are needed under CI");
        eprintln!("skipped: as_pid_1_it_obeys_only_signals_from_outside_its_namespace (no PID namespaces here)");
        return;
    }
    let through = unshare.map(str::to_owned).to_vec();
    let rig = Rig::with(Setup { through, ..Setup::default() }).await;
    rig.assign(
        rig.spec("echo parent $PPID; kill -TERM 1; kill -INT 1; setsid kill -TERM 1; kill -9 1; echo survived; read x"),
    )
    .await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("survived", SOON).await.unwrap();
    assert!(operator.has("parent 1\r\n"), "{}", operator.text());
    let inside = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", rig.pid())).unwrap();
    let inside = nix::unistd::Pid::from_raw(inside.trim().parse().unwrap());
    // The kernel drops a signal while one of the same number is pending, and those from inside may be still.
    while operator.closed.is_none() {
        nix::sys::signal::kill(inside, nix::sys::signal::Signal::SIGTERM).unwrap();
        let _ = operator.wait_closed(Duration::from_secs(1)).await;
    }
    assert_eq!(operator.exit.unwrap().message.as_deref(), Some("The runner was told to stop."));
}
