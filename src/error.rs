//! What can go wrong, and the one place where an error becomes an exit code.

use std::fmt;

use serde::Serialize;

/// So many names still read as a line; of more, their number is told.
pub const MANY: usize = 5;

/// How the program ends. The codes are part of the contract (`docs/exit-codes.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; the deployment is as wanted.
    Done = 0,
    /// Failed; a re-run continues.
    Failed = 1,
    /// Usage or configuration is wrong; nothing was touched.
    Usage = 2,
    /// What exists differs from what is wanted.
    Differs = 3,
    /// Nothing exists.
    Absent = 4,
    /// The resources stand, but the chat round trip failed or took too long.
    ChatFailed = 5,
    /// Interrupted; a re-run continues.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

macro_rules! codes {
    ($($code:ident),* $(,)?) => {
        /// Every code of ours, by its own name; `docs/exit-codes.md` says what each means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($code),*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code),*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($code)),*
                }
            }
        }
    };
}

codes!(
    BadResponse,
    ChatFailed,
    Client,
    Connection,
    Credentials,
    Deadline,
    DeploymentFailed,
    Guarded,
    InstallFailed,
    Interrupted,
    LocalFolder,
    Man,
    MissingNode,
    MissingNpm,
    MissingPython,
    NoIdentity,
    NoPort,
    NoQueue,
    NoRandomness,
    NoUrl,
    NotConverging,
    NotDeployed,
    NotOurs,
    NotRunning,
    OpenFiles,
    StartFailed,
    StopFailed,
    Terminal,
    Timeout,
    TooLong,
    TooSlow,
    Unfinished,
    Unsent,
    Unwritable,
    Usage,
);

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.as_str().to_owned()
    }
}

/// An error as a person and a pipeline see it: what failed, what stands now, what to do.
#[derive(Clone, Debug, Serialize)]
pub struct Error {
    #[serde(skip)]
    pub exit: Exit,
    /// A stable word for machines: an AWS error code, or one of ours (`Code`).
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    /// What exists now because of this run, one `kind name` each.
    pub leftovers: Vec<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), hint: None, leftovers: Vec::new() }
    }

    /// Exit 1.
    pub fn failed(code: Code, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// Exit 2: refused before anything was touched.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Code::Usage, message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
