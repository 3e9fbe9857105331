//! Where the chat shows things: above the line that is being edited, or on the two outputs.

use std::sync::mpsc;

use rustyline::ExternalPrinter;

use crate::host::{Host, Output, visible};

pub(super) enum Screen {
    /// Above the prompt.
    Terminal { lines: mpsc::Sender<String>, color: bool },
    /// Messages on stdout, remarks on stderr.
    Plain { stdout: Output, stderr: Output },
}

impl Screen {
    pub fn plain(host: &Host) -> Self {
        Self::Plain { stdout: host.stdout.clone(), stderr: host.stderr.clone() }
    }

    /// The printer may block while the editor changes hands, so it has a thread of its own.
    pub fn terminal(mut printer: impl ExternalPrinter + Send + 'static, color: bool) -> Self {
        let (lines, waiting) = mpsc::channel::<String>();
        std::thread::spawn(move || {
            while let Ok(line) = waiting.recv() {
                // A terminal that is gone ends the editor, and with it the chat.
                let _ = printer.print(line);
            }
        });
        Self::Terminal { lines, color }
    }

    /// What somebody said.
    pub fn message(&self, text: &str) {
        let text = visible(text);
        match self {
            Self::Terminal { color: true, .. } => self.print(&colored(&text)),
            _ => self.print(&text),
        }
    }

    /// A remark of ours.
    pub fn note(&self, text: &str) {
        let text = &visible(text);
        match self {
            Self::Terminal { color: true, .. } => self.print(&format!("\x1b[2m· {text}\x1b[0m")),
            Self::Terminal { color: false, .. } => self.print(&format!("· {text}")),
            Self::Plain { stderr, .. } => stderr.line(text),
        }
    }

    fn print(&self, line: &str) {
        match self {
            // The receiving thread lives as long as this sender.
            Self::Terminal { lines, .. } => drop(lines.send(format!("{line}\n"))),
            Self::Plain { stdout, .. } => stdout.line(line),
        }
    }
}

/// `ada: hello` with a colour for the name, always the same for the same name.
fn colored(text: &str) -> String {
    const COLORS: [u8; 6] = [36, 33, 35, 32, 34, 31];
    match text.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
        Some((name, said)) => {
            let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
            format!("\x1b[1;{}m{name}:\x1b[0m {said}", COLORS[sum % COLORS.len()])
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown(mpsc::Sender<String>);

    impl ExternalPrinter for Shown {
        fn print(&mut self, line: String) -> rustyline::Result<()> {
            self.0.send(line).unwrap();
            Ok(())
        }
    }

    /// Names and messages of others above the prompt; the colours around them are ours.
    #[test]
    fn nothing_that_is_said_steers_the_terminal() {
        for (text, color) in support::HOSTILE.into_iter().flat_map(|text| [(text, false), (text, true)]) {
            let (printer, shown) = mpsc::channel();
            let screen = Screen::terminal(Shown(printer), color);
            screen.message(text);
            screen.message(&format!("{text}: {text}"));
            screen.note(text);
            drop(screen);
            let shown: Vec<String> = shown.iter().collect();
            assert_eq!(shown.len(), 3);
            for line in shown {
                let line = line.strip_suffix('\n').unwrap();
                let without = ["\x1b[2m", "\x1b[0m"].iter().fold(line.to_owned(), |line, code| line.replace(code, ""));
                let plain = (31..37).fold(without, |line, code| line.replace(&format!("\x1b[1;{code}m"), ""));
                assert!(support::is_plain(&plain), "{plain:?}");
            }
        }
    }
}
