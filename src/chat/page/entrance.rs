//! The way from the user's browser to the page: a private file, because arguments are read by every user of the machine.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::host::private;

/// A file that leads to an address; gone when dropped.
pub(super) struct Entrance {
    folder: PathBuf,
}

impl Entrance {
    /// Makes it in a folder of its own, `name`, below `temp`.
    pub fn create(temp: &Path, name: &str, address: &str) -> io::Result<Self> {
        let folder = temp.join(name);
        private::folder(&folder)?;
        let entrance = Self { folder };
        private::file(&entrance.file())?.write_all(leading_to(address).as_bytes())?;
        Ok(entrance)
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("chat.html")
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // What cannot be removed leads nowhere: nobody listens any more.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A page that goes on to `address` at once.
pub(super) fn leading_to(address: &str) -> String {
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Chat</title>\n\
         <meta http-equiv=\"refresh\" content=\"0;url={address}\">\n<a href=\"{address}\">The chat</a>\n"
    )
}
