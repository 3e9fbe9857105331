//! A terminal from which single keys are read, and which is given back as it was.

use std::io::{self, Read};
use std::thread;

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Keys that may wait.
const WAITING: usize = 16;

/// Gives the terminal back as it was, also when the one who reads is left in the middle of it.
pub struct Terminal(Termios);

impl Terminal {
    pub fn remember() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }

    /// Each key as it is pressed, and none of them shown. Ctrl-C and what is written stay what they are. None where the
    /// keys are another program's: whoever reads from the background is stopped.
    pub fn keys(&self) -> Option<mpsc::Receiver<char>> {
        is_ours().then_some(())?;
        let mut single = self.0.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        single.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        single.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(io::stdin(), SetArg::TCSANOW, &single).ok()?;
        self.give_back_while_stopped(single);
        let (pressed, keys) = mpsc::channel(WAITING);
        // Reading blocks, and the end of the program does not wait for it.
        thread::spawn(move || {
            for byte in io::stdin().lock().bytes() {
                if byte.is_ok_and(|byte| pressed.blocking_send(char::from(byte)).is_err()) {
                    return;
                }
            }
        });
        Some(keys)
    }

    /// Whoever stops the program (Ctrl-Z) finds the terminal as it was; it is `single` again when it goes on in front.
    fn give_back_while_stopped(&self, single: Termios) {
        let signals = (
            signal(SignalKind::from_raw(Signal::SIGTSTP as i32)),
            signal(SignalKind::from_raw(Signal::SIGCONT as i32)),
        );
        let (Ok(mut stopped), Ok(mut continued)) = signals else { return };
        let before = self.0.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = stopped.recv() => {
                        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
                        // It was caught, so the stop is still to come.
                        let _ = raise(Signal::SIGSTOP);
                    }
                    Some(()) = continued.recv() => {
                        if is_ours() {
                            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &single);
                        }
                    }
                    else => return,
                }
            }
        });
    }
}

/// Whether what is typed is for this program: the keys of another are not to be touched.
fn is_ours() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
