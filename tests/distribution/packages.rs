//! What people install: made of the binary that the tests have, installed without a network, used as they would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{DataDir, Folder, Proxy, chatctl, data_dir, eventually, ministack};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{PROGRAM, REPOSITORY, VERSION};

pub fn target() -> String {
    let libc = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-gnu" };
    format!("{}-{libc}", std::env::consts::ARCH)
}

pub async fn ran(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(180), output).await.expect("it ends in time").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", command.as_std());
    stdout.into_owned()
}

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(REPOSITORY).join("scripts").join(name)).current_dir(REPOSITORY);
    command
}

/// All packages of this platform, in a new folder. Compressed little: the binary of a debug build is large.
async fn packed() -> Folder {
    let folder = Folder::new();
    let licences = folder.0.join("licences");
    fs::write(&licences, ran(script("licences.py").arg(target())).await).unwrap();
    let mut binary = script("package.py");
    binary.args(["binary", PROGRAM, "--level", "1", "--target", &target(), "--licences"]).arg(&licences);
    ran(binary.arg("--out").arg(&folder.0)).await;
    ran(script("package.py").args(["launcher", "--out"]).arg(&folder.0)).await;
    ran(script("package.py").arg("sums").arg(&folder.0)).await;
    folder
}

/// The packages that the tests of this process share, below `target/` until the next run.
pub async fn packages() -> &'static Path {
    static SHARED: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || async {
        let place = data_dir().join("packages");
        let made = packed().await;
        let _ = fs::remove_dir_all(&place);
        fs::rename(&made.0, &place).unwrap();
        place
    };
    SHARED.get_or_init(make).await
}

pub fn named(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// A new environment of Python with the wheel in it; its `chatctl`.
async fn installed_wheel(folder: &Folder) -> String {
    let venv = folder.0.join("venv");
    ran(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await;
    let mut install = Command::new(venv.join("bin/pip"));
    install.args(["install", "--disable-pip-version-check", "--no-index", "--find-links"]).arg(packages().await);
    ran(install.arg("chatctl")).await;
    venv.join("bin/chatctl").display().to_string()
}

/// A project of npm with the packages in it; its `chatctl`.
async fn installed_npm(folder: &Folder) -> String {
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--cache"]).arg(folder.0.join("cache"));
    ran(install.args(named(packages().await, ".tgz")).current_dir(&folder.0)).await;
    folder.0.join("node_modules/.bin/chatctl").display().to_string()
}

/// From nothing to nothing, with real clients between.
async fn deploys_and_leaves_nothing(program: &str) {
    let data = DataDir::new().await;
    for line in ["up --local -q", "verify --local -q", "down --local -q", "local stop -q"] {
        chatctl(program).data_dir(&data).args(line.split(' ')).run().await.expect(0);
    }
    chatctl(program).args(["status", "--nonsense"]).run().await.expect(2);
}

/// A signal in the middle of `up` ends it as it ends the binary itself, and nothing runs on.
async fn ends_upon_a_signal(program: &str) {
    let server = ministack().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let proxy = Proxy::start(server.url(), Duration::from_millis(200)).await;
        let account = server.account();
        let run = chatctl(program).args(["up"]).credentials(&proxy.url, &account, "local").start().await;
        eventually("writes have begun", || async { proxy.calls().iter().any(support::Call::is_write) }).await;
        run.signal(signal);
        let ended = run.finish().await.expect(130);
        assert!(ended.stderr.contains("exists now: "), "{}", ended.stderr);
        let calls = proxy.calls().len();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.calls().len(), calls, "something still runs after {signal}");
    }
}

#[tokio::test]
async fn the_same_binary_gives_the_same_bytes() {
    let (one, other) = (packages().await, packed().await);
    assert_eq!(fs::read_to_string(one.join("SHA256SUMS")).unwrap().lines().count(), 4);
    for file in ["SHA256SUMS", "install.sh", &format!("{VERSION}.txt")] {
        assert_eq!(fs::read_to_string(one.join(file)).unwrap(), fs::read_to_string(other.0.join(file)).unwrap());
    }
}

/// Else it would be chance which of them an installer takes.
#[tokio::test]
async fn no_machine_has_a_choice_between_two_wheels() {
    let folder = Folder::new();
    let (binary, licences) = (folder.0.join("chatctl"), folder.0.join("licences"));
    fs::write(&binary, "#!/bin/sh\n").unwrap();
    fs::write(&licences, "none\n").unwrap();
    for machine in ["x86_64", "aarch64"] {
        for system in ["unknown-linux-gnu", "unknown-linux-musl", "apple-darwin"] {
            let mut make = script("package.py");
            make.arg("binary").arg(&binary).args(["--target", &format!("{machine}-{system}"), "--licences"]);
            ran(make.arg(&licences).arg("--out").arg(&folder.0)).await;
        }
    }
    let wheels = named(&folder.0, ".whl");
    let tags = wheels.iter().flat_map(|wheel| {
        let name = wheel.file_stem().unwrap().to_str().unwrap();
        name.rsplit('-').next().unwrap().split('.').map(str::to_owned).collect::<Vec<_>>()
    });
    let mut tags: Vec<String> = tags.collect();
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!((wheels.len(), tags.len()), (6, count), "{wheels:?}");
}

#[tokio::test]
async fn the_wheel_installs_without_a_network_and_works() {
    let folder = Folder::new();
    let program = installed_wheel(&folder).await;
    deploys_and_leaves_nothing(&program).await;
    ends_upon_a_signal(&program).await;
}

#[tokio::test]
async fn the_npm_packages_install_without_a_network_and_work() {
    let folder = Folder::new();
    let program = installed_npm(&folder).await;
    deploys_and_leaves_nothing(&program).await;
    ends_upon_a_signal(&program).await;
}

/// A pipeline sees how the binary ended, not that the launcher ended well.
#[tokio::test]
async fn the_launcher_ends_by_the_signal_that_ended_the_binary() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new();
    installed_npm(&folder).await;
    let binary = named(&folder.0.join("node_modules/@chatctl"), "").remove(0).join("chatctl");
    fs::write(&binary, "#!/bin/sh\nkill -KILL $$\n").unwrap();
    let mut launcher = Command::new("node").arg(folder.0.join("node_modules/chatctl/chatctl.js")).spawn().unwrap();
    assert_eq!(launcher.wait().await.unwrap().signal(), Some(Signal::SIGKILL as i32));
    fs::remove_file(&binary).unwrap();
    let mut launcher = Command::new("node");
    let ended = launcher.arg(folder.0.join("node_modules/chatctl/chatctl.js")).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("error: npm has installed no chatctl for"), "{ended:?}");
}

#[tokio::test]
async fn every_artefact_has_the_licences_of_all_that_is_in_it() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--target", &target()]);
    let tree = ran(tree.args(["--package", "chatctl"]).current_dir(REPOSITORY)).await;
    let listing = "import sys, tarfile, zipfile\n\
                   for path in sys.argv[1:]:\n    \
                   is_wheel = path.endswith('.whl')\n    \
                   file = zipfile.ZipFile(path) if is_wheel else tarfile.open(path)\n    \
                   names = file.namelist() if is_wheel else file.getnames()\n    \
                   third = next(name for name in names if name.endswith('/THIRD-PARTY.txt'))\n    \
                   assert {name.rsplit('/')[-1] for name in names} >= {'LICENSE-APACHE', 'LICENSE-MIT'}, names\n    \
                   print((file.open(third) if is_wheel else file.extractfile(third)).read().decode())";
    let folder = packages().await;
    let mut holding: Vec<PathBuf> = [".gz", ".whl", ".tgz"].iter().flat_map(|ending| named(folder, ending)).collect();
    // The launcher holds nobody else's code.
    holding.retain(|path| !path.ends_with(format!("chatctl-{VERSION}.tgz")));
    assert_eq!(holding.len(), 3, "{holding:?}");
    for file in holding {
        let text = ran(Command::new("python3").args(["-c", listing]).arg(&file)).await;
        let mut count = 0;
        for package in tree.lines().filter(|line| !line.contains('(') || line.ends_with("(proc-macro)")) {
            let mut words = package.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
            assert!(text.contains(&format!("\n{name} {version}: ")), "{package} is missing in {}", file.display());
            count += 1;
        }
        assert!(count > 100, "only {count} packages were found");
        assert!(
            text.contains("\nstd 1.") && !text.contains("\nmusl "),
            "what the compiler adds, in {}",
            file.display()
        );
    }
    let machine = std::env::consts::ARCH;
    let of_static = ran(script("licences.py").arg(format!("{machine}-unknown-linux-musl"))).await;
    assert!(of_static.contains("\nmusl 1.") && of_static.contains("\nCopyright (c) 2005-2020 Rich Felker, et al.\n"));
}
