//! Notices that files were changed, by looking at them again and again: that sees whatever an editor does, what was deleted
//! and made anew, and folders that other machines share, of which a system tells nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often it is looked, where a look takes no time.
const LOOK: Duration = Duration::from_millis(50);
/// A look at many files takes time, of which this is the share: one part in twenty.
const SHARE: u32 = 20;
/// Several files that are saved at once are one change.
const QUIET: Duration = Duration::from_millis(100);

/// What tells one state of a file from another: which file it is, its length, and when it was changed, content and all.
type Mark = (u64, u64, i64, i64, i64, i64);
type Seen = BTreeMap<PathBuf, Mark>;

/// Files, and folders with all that is in them but what is hidden.
pub struct Watch {
    paths: Vec<PathBuf>,
    seen: Seen,
}

impl Watch {
    pub async fn of(paths: Vec<PathBuf>) -> Self {
        let seen = look(&paths).await;
        Self { paths, seen }
    }

    /// From now on it is about `paths`. What has changed in those that are still among them is told all the same.
    pub async fn set(&mut self, paths: Vec<PathBuf>) {
        if paths != self.paths {
            let is_old = |path: &Path| self.paths.iter().any(|old| path.starts_with(old));
            let new = look(&paths).await.into_iter().filter(|(path, _)| !is_old(path));
            self.seen.retain(|path, _| paths.iter().any(|kept| path.starts_with(kept)));
            self.seen.extend(new);
            self.paths = paths;
        }
    }

    /// Whether all is as it was when that was last looked at: nothing that was read since was half written.
    pub async fn is_still(&self) -> bool {
        look(&self.paths).await == self.seen
    }

    /// Waits until something is not as it was, and then until it stays as it is for a moment; gives the paths.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let began = Instant::now();
            let now = look(&self.paths).await;
            let took = began.elapsed();
            if last.as_ref() != Some(&now) {
                since = began;
                last = Some(now.clone());
            }
            if now != self.seen && since.elapsed() >= QUIET {
                return different(&std::mem::replace(&mut self.seen, now.clone()), &now);
            }
            sleep(LOOK.max(took * SHARE)).await;
        }
    }
}

fn different(before: &Seen, now: &Seen) -> Vec<PathBuf> {
    let changed = now.iter().filter(|(path, mark)| before.get(*path) != Some(mark)).map(|(path, _)| path);
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    changed.chain(gone).cloned().collect()
}

async fn look(paths: &[PathBuf]) -> Seen {
    let paths = paths.to_vec();
    let look = move || {
        let mut seen = Seen::new();
        for path in paths {
            // It may be a link to what is meant; links among the handlers are refused.
            if let Ok(found) = fs::metadata(&path) {
                look_at(path, &found, &mut seen);
            }
        }
        seen
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn look_at(path: PathBuf, found: &Metadata, seen: &mut Seen) {
    if !found.is_dir() {
        seen.insert(path, mark(found));
        return;
    }
    // What goes away while it is looked at is gone.
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if let (false, Ok(found)) = (is_hidden(&entry.file_name()), entry.metadata()) {
            look_at(entry.path(), &found, seen);
        }
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn mark(found: &Metadata) -> Mark {
    (found.ino(), found.len(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, remove_dir_all, rename, write};

    use support::Folder;
    use tokio::time::timeout;

    use super::*;

    async fn names(watch: &mut Watch, folder: &Folder) -> Vec<String> {
        let changed = timeout(Duration::from_secs(30), watch.changed()).await.unwrap();
        changed.iter().map(|path| path.strip_prefix(&folder.0).unwrap().display().to_string()).collect()
    }

    #[tokio::test]
    async fn whatever_an_editor_does_is_seen_once() {
        let folder = Folder::new();
        let [settings, handlers] = ["chatctl.toml", "lambda"].map(|name| folder.0.join(name));
        create_dir(&handlers).unwrap();
        write(handlers.join("a.mjs"), "1").unwrap();
        let mut watch = Watch::of(vec![settings.clone(), handlers.clone()]).await;

        write(handlers.join("a.mjs"), "2").unwrap();
        write(handlers.join("b.mjs"), "1").unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["lambda/a.mjs", "lambda/b.mjs"]);
        // As vim saves: beside it, and then over it.
        write(handlers.join(".a.mjs.swp"), "3").unwrap();
        rename(handlers.join(".a.mjs.swp"), handlers.join("a.mjs")).unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["lambda/a.mjs"]);
        // What has not been there is there, and the whole folder is gone and comes again.
        write(&settings, "").unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["chatctl.toml"]);
        remove_dir_all(&handlers).unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["lambda/a.mjs", "lambda/b.mjs"]);
        create_dir(&handlers).unwrap();
        create_dir(handlers.join("deep")).unwrap();
        write(handlers.join("deep/c.mjs"), "1").unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["lambda/deep/c.mjs"]);

        // Of two paths, one stays: what has happened there meanwhile is not lost.
        let other = folder.0.join("other");
        create_dir(&other).unwrap();
        write(other.join("d.mjs"), "1").unwrap();
        write(&settings, "# edited").unwrap();
        watch.set(vec![settings, other.clone()]).await;
        assert_eq!(names(&mut watch, &folder).await, ["chatctl.toml"]);
        write(other.join("d.mjs"), "2").unwrap();
        write(handlers.join("deep/c.mjs"), "2").unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["other/d.mjs"]);
    }

    #[tokio::test]
    async fn what_is_hidden_is_not_looked_at() {
        let folder = Folder::new();
        let mut watch = Watch::of(vec![folder.0.clone()]).await;
        create_dir(folder.0.join(".git")).unwrap();
        write(folder.0.join(".git/index"), "1").unwrap();
        write(folder.0.join(".env"), "1").unwrap();
        write(folder.0.join("seen"), "1").unwrap();
        assert_eq!(names(&mut watch, &folder).await, ["seen"]);
    }
}
