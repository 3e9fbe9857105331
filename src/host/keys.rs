//! A terminal from which single keys are read, and which is given back as it was.

use std::io::{self, Read};
use std::thread;

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
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
        tcgetpgrp(io::stdin()).ok().filter(|foreground| *foreground == getpgrp())?;
        let mut single = self.0.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        single.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        single.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(io::stdin(), SetArg::TCSANOW, &single).ok()?;
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
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
