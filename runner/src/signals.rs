//! Signals from outside: being told to stop. What the session's own processes send is ignored, since they run as the
//! same user and could otherwise end the supervisor that holds their result.

use std::io;

use nix::unistd::{Pid, getpid};
use signal_hook::consts::signal::*;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use tokio_util::sync::CancellationToken;

use crate::tree;

const STOPPING: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];
/// Their default action would end or stop this process. They mean nothing here, whoever sends them.
const MEANINGLESS: [i32; 12] =
    [SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGTSTP, SIGTTIN, SIGTTOU, SIGXCPU, SIGXFSZ, SIGTRAP];

/// Starts to listen for signals; the token is cancelled by the first that is obeyed.
pub fn listen() -> io::Result<CancellationToken> {
    let told = CancellationToken::new();
    let stop = told.clone();
    let mut signals = SignalsInfo::<WithOrigin>::new(STOPPING.iter().chain(&MEANINGLESS))?;
    // A thread of its own: who sent a signal is looked up while the sender still waits to see its effect.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for origin in signals.forever() {
            if STOPPING.contains(&origin.signal) && is_from_outside(&origin) {
                tracing::info!(signal = origin.signal, "told to stop");
                stop.cancel();
            }
        }
    })?;
    Ok(told)
}

/// As PID 1, everything inside the namespace is the session's: a sender outside of it has no number there. Otherwise
/// the session's processes are those below this one; one that is gone already cannot be told from them.
fn is_from_outside(origin: &Origin) -> bool {
    let Some(process) = &origin.process else {
        // The kernel's own, such as a terminal's: none of ours, and nobody who wants this to stop.
        return false;
    };
    let sender = Pid::from_raw(process.pid);
    if getpid().as_raw() == 1 {
        return process.pid == 0;
    }
    // Outside of this PID namespace, yet not PID 1 in it.
    if process.pid == 0 {
        return true;
    }
    let outside = sender != getpid() && tree::is_elsewhere(sender);
    if !outside {
        tracing::info!(signal = origin.signal, "ignored a signal of the session's own");
    }
    outside
}
