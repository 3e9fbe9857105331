//! Arguments in, exit code out.

#![warn(clippy::expect_used, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

use std::process::ExitCode;

use chatctl::error::Exit;
use chatctl::host::Host;

#[expect(clippy::print_stderr, reason = "there is no host yet to print through")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let started = Host::of_this_process()
        .and_then(|host| Ok((host, tokio::runtime::Builder::new_current_thread().enable_all().build()?)));
    let (host, runtime) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(async {
        listen_for_signals(&host);
        chatctl::run(&args, &host).await
    });
    // A read of stdin that never ends must not keep the program.
    runtime.shutdown_background();
    exit.into()
}

/// SIGINT and SIGTERM raise the interrupt; what to do about it is the engine's.
fn listen_for_signals(host: &Host) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        if let Ok(mut signals) = signal(kind) {
            let interrupt = host.interrupt.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    interrupt.raise();
                }
            });
        }
    }
}
