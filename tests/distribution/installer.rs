//! The installer of a release, from a server on this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use support::Folder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::VERSION;
use super::packages::{packages, target};

/// The files of a folder over HTTP; gone when dropped.
struct Files {
    url: String,
    accepting: JoinHandle<()>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Files {
    /// Of what it is asked for it sends `part` of the bytes that it promises.
    async fn serve(folder: &Path, part: fn(usize) -> usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, folder) = (format!("http://{}", listener.local_addr().unwrap()), folder.to_owned());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut stream, mut request, mut line) = (BufReader::new(stream), String::new(), String::new());
                stream.read_line(&mut request).await.unwrap();
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    line.clear();
                }
                let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                let found = fs::read(folder.join(path));
                let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
                let bytes = found.unwrap_or_default();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&bytes[..part(bytes.len())]).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { url, accepting }
    }
}

/// A machine that has the programs `named` and no others, or stand-ins for them.
struct Machine(Folder);

impl Machine {
    fn with(programs: &[&str]) -> Self {
        let machine = Self(Folder::new());
        for folder in ["bin", "home", "tmp"] {
            fs::create_dir(machine.0.0.join(folder)).unwrap();
        }
        let all = ["cat", "chmod", "cp", "getconf", "gzip", "mkdir", "mktemp", "mv", "rm", "sed", "sh", "tar", "uname"];
        for program in all.iter().chain(programs) {
            let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {program} here"));
            symlink(found, machine.0.0.join("bin").join(program)).unwrap();
        }
        machine
    }

    fn stand_in(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.0.join("bin").join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn install(&self, files: &Files, more: &[&str]) -> Output {
        let mut installer = Command::new(self.0.0.join("bin/sh"));
        installer.arg(packages().await.join("install.sh")).args(["--from", &files.url]).args(more);
        installer.env_clear().env("PATH", self.0.0.join("bin")).env("HOME", self.0.0.join("home"));
        installer.env("TMPDIR", self.0.0.join("tmp")).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
    }

    /// Whatever there is in the home and in the folder for temporary files.
    fn files(&self) -> Vec<PathBuf> {
        let mut open_ends = vec![self.0.0.join("home"), self.0.0.join("tmp")];
        let mut files = Vec::new();
        while let Some(folder) = open_ends.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { open_ends.push(path) } else { files.push(path) }
            }
        }
        files
    }

    #[track_caller]
    fn has_refused(&self, ended: &Output, why: &str) {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && stderr.contains(why), "{why}: {stderr}");
        assert!(self.files().is_empty(), "{:?}", self.files());
    }
}

fn summing() -> &'static str {
    if cfg!(target_os = "macos") { "shasum" } else { "sha256sum" }
}

fn archive() -> String {
    format!("chatctl-{}.tar.gz", target())
}

#[tokio::test]
async fn the_installer_puts_one_file_in_place_and_a_new_one_over_it() {
    let files = Files::serve(packages().await, |all| all).await;
    let machine = Machine::with(&["curl", summing()]);
    let place = machine.0.0.join("home/.local/bin/chatctl");
    for round in 0..2 {
        if round == 1 && Path::new("/usr/bin/wget").exists() {
            fs::rename(machine.0.0.join("bin/curl"), machine.0.0.join("curl")).unwrap();
            symlink("/usr/bin/wget", machine.0.0.join("bin/wget")).unwrap();
        }
        let ended = machine.install(&files, &[]).await;
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success() && ended.stdout.is_empty(), "{stderr}");
        let folder = place.parent().unwrap().display().to_string();
        assert!(stderr.contains(&format!("chatctl {VERSION} is in {folder}\n")), "{stderr}");
        assert!(stderr.contains(&format!("export PATH=\"{folder}:$PATH\"\n")), "{stderr}");
        assert_eq!(machine.files(), [&*place]);
    }
    let elsewhere = machine.0.0.join("home/bin of mine");
    let ended = machine.install(&files, &["--to", elsewhere.to_str().unwrap()]).await;
    assert!(ended.status.success() && elsewhere.join("chatctl").exists(), "{ended:?}");
}

#[tokio::test]
async fn what_is_not_the_released_archive_is_not_installed() {
    let folder = Folder::new();
    let mut bytes = fs::read(packages().await.join(archive())).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.0.join(archive()), bytes).unwrap();
    let machine = Machine::with(&["curl", summing()]);
    let ended = machine.install(&Files::serve(&folder.0, |all| all).await, &[]).await;
    machine.has_refused(&ended, &format!("error: `{}` is not what was released: its hash is `", archive()));
    // A download that is cut off, one that is not there, and a server that is not.
    let cut_off = Files::serve(packages().await, |all| all / 2).await;
    let ended = machine.install(&cut_off, &[]).await;
    machine.has_refused(&ended, &format!("error: `{}/{}` cannot be had", cut_off.url, archive()));
    fs::remove_file(folder.0.join(archive())).unwrap();
    let mut files = Files::serve(&folder.0, |all| all).await;
    machine.has_refused(&machine.install(&files, &[]).await, "cannot be had");
    "http://127.0.0.1:1".clone_into(&mut files.url);
    machine.has_refused(&machine.install(&files, &[]).await, "cannot be had");
    let ended = machine.install(&files, &["--into", "x"]).await;
    machine.has_refused(&ended, "error: unknown argument `--into`\nhint: usage: install.sh ");
}

#[tokio::test]
async fn the_installer_finds_out_what_the_machine_is() {
    let files = Files::serve(packages().await, |all| all).await;
    let machine = Machine::with(&["curl", summing()]);
    // What was built for the tests is for this machine alone, so that is how it shows what another one would get.
    let unknown = |target: &str| format!("error: this installer knows no hash of `chatctl-{target}.tar.gz`");
    let uname = |system: &str, machine: &str| format!("[ $1 = -m ] && echo {machine} || echo {system}");
    for (libc, of) in
        [("glibc 2.16", "musl"), ("glibc 2.9", "musl"), ("", "musl"), ("glibc 2.17", "gnu"), ("glibc 2.41", "gnu")]
    {
        machine.stand_in("uname", &uname("Linux", if cfg!(target_arch = "aarch64") { "x86_64" } else { "arm64" }));
        machine.stand_in("getconf", &format!("echo {libc}"));
        let other = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
        let ended = machine.install(&files, &[]).await;
        machine.has_refused(&ended, &unknown(&format!("{other}-unknown-linux-{of}")));
    }
    machine.stand_in("uname", &uname("Darwin", "x86_64"));
    machine.stand_in("sysctl", "echo 1");
    if !cfg!(target_os = "macos") {
        machine.has_refused(&machine.install(&files, &[]).await, &unknown("aarch64-apple-darwin"));
    }
    machine.stand_in("uname", &uname("Linux", "riscv64"));
    machine.has_refused(
        &machine.install(&files, &[]).await,
        "error: there is no chatctl for `riscv64`\nhint: with Rust, ",
    );
    machine.stand_in("uname", &uname("MINGW64_NT", "x86_64"));
    machine
        .has_refused(&machine.install(&files, &[]).await, "error: there is no chatctl for `MINGW64_NT`\nhint: in WSL ");
}
