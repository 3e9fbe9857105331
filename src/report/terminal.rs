//! Progress on a terminal: one line a resource, alive until it is done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use unicode_width::UnicodeWidthStr;

use super::style::{self, Tone, paint};
use super::text::fitted;
use crate::config::Face;
use crate::host::{Host, Output, columns, visible};
use crate::progress::{Ended, Reporter};

pub struct Terminal {
    bars: MultiProgress,
    out: Output,
    state: Mutex<State>,
    colored: bool,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<String, ProgressBar>,
    /// A line written between the bars would wipe out those that are finished, so it waits until none is alive.
    notes: Vec<String>,
    /// Whether the cursor stands at the end of a bar.
    after_bar: bool,
}

impl Terminal {
    pub fn new(host: &Host, face: Face) -> Self {
        let colored = style::is_colored(face, host, &host.stderr);
        Self { bars: MultiProgress::new(), out: host.stderr.clone(), state: Mutex::default(), colored }
    }

    fn bar(&self, task: &str, doing: &str) -> ProgressBar {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.after_bar = true;
        state
            .tasks
            .entry(task.to_owned())
            .or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new_spinner());
                let name = name_width();
                bar.set_style(line(&format!("{{spinner}} {{prefix:<{name}!}} {{wide_msg}} {{took:>7}}")));
                bar.set_prefix(fitted(&visible(task), name));
                bar.set_message(doing.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                bar
            })
            .clone()
    }
}

impl Reporter for Terminal {
    fn begin(&self, task: &str, doing: &'static str) {
        let bar = self.bar(task, doing);
        bar.set_message(doing);
    }

    fn waiting(&self, task: &str, what: &str) {
        let room = columns().saturating_sub(name_width() + BESIDE);
        // Where there is little room, the spinner says that it waits.
        let whole = visible(&format!("waiting for {what}"));
        let text = if whole.width() > room { fitted(&visible(what), room) } else { whole };
        self.bar(task, "").set_message(text);
    }

    fn end(&self, task: &str, ended: Ended) {
        let bar = self.bar(task, "");
        let (mark, tone, text) = match ended {
            Ended::Done(what) => ("✓", Tone::Good, what.to_owned()),
            Ended::Failed(_) => ("✗", Tone::Bad, "failed".to_owned()),
            Ended::Skipped(why) => {
                let room = columns().saturating_sub(name_width() + BESIDE);
                ("-", Tone::Quiet, fitted(&visible(&format!("skipped: {why}")), room))
            }
        };
        let (mark, name) = (paint(self.colored, tone, mark), name_width());
        bar.set_style(line(&format!("{mark} {{prefix:<{name}!}} {{wide_msg}} {{took:>7}}")));
        bar.finish_with_message(text);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.remove(task);
        state.write_notes(&self.out);
    }

    fn note(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.notes.push(text.to_owned());
        state.write_notes(&self.out);
    }

    /// What still waits when the run ends has been observed to be ready.
    fn settle(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in std::mem::take(&mut state.tasks).values() {
            bar.finish_and_clear();
        }
        state.write_notes(&self.out);
        state.end_bars(&self.out);
    }
}

impl State {
    fn write_notes(&mut self, out: &Output) {
        if self.tasks.is_empty() && !self.notes.is_empty() {
            self.end_bars(out);
            out.prose(&std::mem::take(&mut self.notes).join("\n"));
        }
    }

    fn end_bars(&mut self, out: &Output) {
        if std::mem::take(&mut self.after_bar) {
            out.line("");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Columns of a line that are neither name nor message: mark, time, and the gaps.
const BESIDE: usize = 11;

/// Columns of the names: half of the line, so that what is waited for can be read.
fn name_width() -> usize {
    (columns() / 2).clamp(20, 44)
}

fn line(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.with_key("took", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Writing into the line cannot fail.
        let _ = write!(out, "{:.1} s", state.elapsed().as_secs_f64());
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal that notes what it is to show.
    #[derive(Clone, Debug, Default)]
    struct Shown(Arc<Mutex<Vec<String>>>);

    impl Shown {
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    impl TermLike for Shown {
        fn width(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(text);
            Ok(())
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.note(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Names and reasons of others, in the lines that live and in those that stay.
    #[test]
    fn nothing_of_others_steers_the_terminal() {
        for text in support::HOSTILE {
            let shown = Shown::default();
            let terminal = Terminal {
                bars: MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(shown.clone()))),
                out: Output::new(shown.clone(), false),
                state: Mutex::default(),
                colored: false,
            };
            for ended in [Ended::Done("created"), Ended::Failed(text.to_owned()), Ended::Skipped(text.to_owned())] {
                terminal.begin(text, "creating");
                terminal.waiting(text, text);
                terminal.end(text, ended);
            }
            terminal.waiting("the last", text);
            terminal.note(text);
            drop(terminal);
            // Notes are whole lines of ours, which keep tabs and colours.
            let shown = shown.0.lock().unwrap().concat().replace('\t', " ");
            assert!(shown.contains("created") && shown.contains("skipped: "), "{shown:?}");
            assert!(support::is_plain(&shown), "{text:?}: {shown:?}");
        }
    }
}
