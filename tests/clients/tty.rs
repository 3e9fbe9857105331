//! A program in a real terminal: types keys, and waits for what the screen shows.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use tokio::sync::watch;

use super::chat_server::PATIENCE;

pub const ROWS: NonZero<u16> = NonZero::new(30).unwrap();
pub const COLUMNS: NonZero<u16> = NonZero::new(90).unwrap();

pub struct Tty {
    pty: Arc<Pty>,
    child: Child,
    screen: watch::Receiver<String>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Tty {
    pub fn start(program: &std::process::Command) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).unwrap();
        let set = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut command =
            Command::new(program.get_program()).args(program.get_args()).env("TERM", "xterm-256color").envs(set);
        if let Some(folder) = program.get_current_dir() {
            command = command.current_dir(folder);
        }
        let child = command.spawn(pts).unwrap();
        let (pty, raw) = (Arc::new(pty), Arc::new(Mutex::new(Vec::new())));
        let (shown, screen) = watch::channel(String::new());
        let (from, all) = (pty.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
            let mut bytes = [0; 4096];
            // Reading fails once the program has gone.
            while let Ok(count @ 1..) = (&*from).read(&mut bytes) {
                all.lock().unwrap().extend_from_slice(&bytes[..count]);
                terminal.process(&bytes[..count]);
                shown.send_replace(terminal.screen().contents());
            }
        });
        Self { pty, child, screen, raw }
    }

    pub fn keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows `enough`; gives its lines, those that are not empty.
    pub async fn until(&self, enough: impl Fn(&[&str]) -> bool) -> Vec<String> {
        fn lines(screen: &str) -> Vec<&str> {
            screen.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
        }
        let mut screen = self.screen.clone();
        let waiting = tokio::time::timeout(PATIENCE, screen.wait_for(|screen| enough(&lines(screen)))).await;
        // What it gives keeps the screen locked: to look at it a second time meanwhile may never end.
        match waiting {
            Ok(Ok(screen)) => return lines(&screen).into_iter().map(str::to_owned).collect(),
            failed => drop(failed),
        }
        panic!("waited in vain; the screen shows:\n{}", self.screen.borrow().as_str());
    }

    /// The same for a text, which may be folded to the width of the screen.
    pub async fn shows(&self, text: &str) -> Vec<String> {
        let unfolded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.until(|lines| unfolded(&lines.join(" ")).contains(&unfolded(text))).await
    }

    pub async fn ends_with(&self, last: &[&str]) {
        self.until(|lines| lines.ends_with(last)).await;
    }

    /// All bytes that the program has written so far.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Whether the terminal echoes and gathers lines, as a shell wants it back.
    pub fn is_cooked(&self) -> bool {
        tcgetattr(&*self.pty).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }

    /// Waits until somebody has stopped the program.
    pub async fn stops(&self) {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        wait_for(|| matches!(waitpid(self.pid(), Some(flags)).unwrap(), WaitStatus::Stopped(..)), "does not stop")
            .await;
    }

    /// Waits until the program has the terminal for itself.
    pub async fn becomes_raw(&self) {
        wait_for(|| !self.is_cooked(), "leaves the terminal as it is").await;
    }

    pub async fn exit(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for(
            || {
                ended = self.child.try_wait().unwrap();
                ended.is_some()
            },
            "does not end",
        )
        .await;
        ended.unwrap()
    }
}

async fn wait_for(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "the program {otherwise}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
