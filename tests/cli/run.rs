//! Runs of the program within the test's own process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use chatctl::error::Exit;
use chatctl::host::{Env, Host, Interrupt, Output};
use support::Folder;

/// What was written to one stream.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run as it is going to be: in an empty folder, with an empty environment.
pub struct Run {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    folder: Folder,
    aws: Option<SdkConfig>,
    is_terminal: bool,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

/// `line` is the command line behind `chatctl`, without quotes.
pub fn chatctl(line: &str) -> Run {
    Run {
        args: line.split_whitespace().map(str::to_owned).collect(),
        env: BTreeMap::new(),
        folder: Folder::new(),
        aws: None,
        is_terminal: false,
    }
}

impl Run {
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Another command line, in all else the same.
    pub fn instead(mut self, line: &str, args: &[&str]) -> Self {
        self.args = line.split_whitespace().chain(args.iter().copied()).map(str::to_owned).collect();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.0.join(name), text).unwrap();
        self
    }

    pub fn aws(mut self, aws: &SdkConfig) -> Self {
        self.aws = Some(aws.clone());
        self
    }

    /// With streams that say that they are terminals.
    pub fn terminal(mut self) -> Self {
        self.is_terminal = true;
        self
    }

    pub fn args(&self) -> &[String] {
        &self.args
    }

    pub fn path(&self) -> PathBuf {
        self.folder.0.clone()
    }

    pub fn host(&self, stdout: &Written, stderr: &Written) -> Host {
        Host {
            env: Env(self.env.clone()),
            cwd: self.path(),
            stdin_is_terminal: false,
            stdout: Output::new(stdout.clone(), self.is_terminal),
            stderr: Output::new(stderr.clone(), self.is_terminal),
            interrupt: Interrupt::default(),
            aws: self.aws.clone(),
        }
    }

    pub async fn run(&self) -> Ended {
        let (stdout, stderr) = (Written::default(), Written::default());
        let exit = Box::pin(chatctl::run(&self.args, &self.host(&stdout, &stderr))).await;
        let folder = self.folder.0.display().to_string();
        let text = |written: Written| written.text().replace(&folder, "<cwd>");
        let stdout = text(stdout);
        support::schema::assert_described(&stdout);
        Ended { exit, stdout, stderr: text(stderr) }
    }
}
