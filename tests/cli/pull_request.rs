//! The comment on a pull request: the action's own steps against a stand-in of GitHub's REST API, over HTTP.

use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::python_tools;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::pipeline::{Project, pull_request, template, went_well};

const BOT: &str = "github-actions[bot]";

/// GitHub, as far as it keeps the comments of one pull request; gone when dropped.
struct GitHub {
    url: String,
    comments: Arc<Mutex<Vec<Value>>>,
    accepting: JoinHandle<()>,
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl GitHub {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3", listener.local_addr().unwrap());
        let comments = Arc::<Mutex<Vec<Value>>>::default();
        let kept = comments.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &kept).await;
            }
        });
        Self { url, comments, accepting }
    }

    fn say(&self, login: &str, body: &str) {
        let mut comments = self.comments.lock().unwrap();
        let comment = json!({ "id": 1000 + comments.len(), "user": { "login": login }, "body": body });
        comments.push(comment);
    }

    fn by(&self, login: &str) -> Vec<String> {
        let comments = self.comments.lock().unwrap();
        let theirs = comments.iter().filter(|comment| comment["user"]["login"] == login);
        theirs.map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }
}

/// One request, answered as GitHub does: only to a token that may, and a page at a time.
async fn answer(stream: TcpStream, comments: &Mutex<Vec<Value>>) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line).await.unwrap() > 2 {
        head.push_str(&line);
        line.clear();
    }
    let header = |name: &str| {
        let mut pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    let rights: Value = serde_json::from_str(header("authorization").strip_prefix("Bearer ").unwrap()).unwrap();
    assert_eq!((header("accept"), header("x-github-api-version")), ("application/vnd.github+json", "2022-11-28"));
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (status, answer) = if rights["pull-requests"] == "write" {
        serve(method, path.strip_prefix("/api/v3/repos/us/chat/issues/").unwrap(), &body, &mut comments.lock().unwrap())
    } else {
        ("403 Forbidden", json!({ "message": "Resource not accessible by integration" }))
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    stream.write_all((head + &answer).as_bytes()).await.unwrap();
}

fn serve(method: &str, path: &str, body: &[u8], comments: &mut Vec<Value>) -> (&'static str, Value) {
    let text = || serde_json::from_slice::<Value>(body).unwrap()["body"].clone();
    assert!(method == "GET" || text().as_str().unwrap().chars().count() <= 65536);
    match (method, path) {
        ("GET", _) => {
            let query = path.strip_prefix("7/comments?per_page=100&page=").unwrap();
            let page: usize = query.parse().unwrap();
            ("200 OK", comments.chunks(100).nth(page - 1).unwrap_or_default().to_vec().into())
        }
        ("POST", "7/comments") => {
            let comment = json!({ "id": 1000 + comments.len(), "user": { "login": BOT }, "body": text() });
            comments.push(comment.clone());
            ("201 Created", comment)
        }
        ("PATCH", _) => {
            let id: u64 = path.strip_prefix("comments/").unwrap().parse().unwrap();
            let comment = comments.iter_mut().find(|comment| comment["id"] == id).unwrap();
            // By a token of this kind GitHub would do it to anybody's.
            comment["body"] = text();
            ("200 OK", comment.clone())
        }
        _ => panic!("{method} {path}"),
    }
}

/// A workflow of ours as one makes it that wants the comment: what is commented out in it is no longer.
fn with_comment(project: &Project, workflow: &str) -> String {
    let text = fs::read_to_string(template(&format!("github/{workflow}.yml"))).unwrap();
    let wanted =
        text.replace("# pull-requests: write", "pull-requests: write").replace("# comment: true", "comment: true");
    assert!(wanted.matches("comment: true").count() > 0 && wanted != text);
    let file = project.folder.0.join(format!("{workflow}.yml"));
    fs::write(&file, wanted).unwrap();
    file.display().to_string()
}

/// A workflow of one step, the action.
fn job(project: &Project, rights: &Value, with: &Value) -> String {
    let step = json!({ "uses": "OWNER/chatctl@main", "with": with });
    let file = project.folder.0.join("workflow.yml");
    fs::write(&file, json!({ "jobs": { "job": { "permissions": rights, "steps": [step] } } }).to_string()).unwrap();
    file.display().to_string()
}

async fn commented(project: &Project, file: &str, action: &str) -> Value {
    let mut event = pull_request(action, "us/chat");
    event["number"] = json!(7);
    event["pull_request"]["number"] = json!(7);
    let vars = json!({ "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer", "AWS_REGION": "us-east-1" });
    let github = json!({ "repository": "us/chat", "event": event });
    project.run(json!({ "kind": "github", "file": file, "github": github, "vars": vars })).await
}

/// A project, and a pull request on which more people than fit one page have spoken.
async fn discussed() -> (Project, GitHub) {
    let (mut project, github) = (Project::new().await, GitHub::start().await);
    for _ in 0..100 {
        github.say("ada", "I think so");
    }
    project.env = json!({ "GITHUB_API_URL": github.url });
    (project, github)
}

#[tokio::test]
async fn one_comment_follows_the_deployment_of_a_pull_request() {
    let (project, github) = discussed().await;
    let preview = with_comment(&project, "preview");
    // Not ours, though it says so.
    github.say("eve", "<!-- chatctl: pr-7 -->\nclick here");
    went_well(&commented(&project, &preview, "closed").await);
    assert_eq!(github.by(BOT), [""; 0], "there was nothing, so there is nothing to say");

    let report = commented(&project, &preview, "opened").await;
    went_well(&report);
    let [first] = github.by(BOT).try_into().unwrap();
    assert!(first.starts_with("<!-- chatctl: pr-7 -->\n## `pr-7` in us-east-1\n"), "{first}");
    let url = report["outputs"]["url"].as_str().unwrap();
    for part in [
        &format!("`{url}`"),
        "expires at 20",
        "latency    p50 ",
        "[The run](https://github.com/us/chat/actions/runs/9)",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    went_well(&commented(&project, &preview, "synchronize").await);
    let [second] = github.by(BOT).try_into().unwrap();
    assert!(second.contains("ready after 2 changes"), "its time to live is renewed: {second}");

    let verify = json!({ "verb": "verify", "args": "--name pr-7", "comment": true });
    went_well(&commented(&project, &job(&project, &json!({ "pull-requests": "write" }), &verify), "synchronize").await);
    let [verified] = github.by(BOT).try_into().unwrap();
    assert!(
        verified.contains(&format!("## Verified\n\n`{url}`")) && verified.contains("latency    p50 "),
        "{verified}"
    );

    // What an earlier run said holds no longer.
    fs::write(project.folder.0.join("workspace/chatctl.toml"), "handlers = \"nowhere\"\n").unwrap();
    assert_eq!(commented(&project, &preview, "synchronize").await["failed"], true);
    let [failed] = github.by(BOT).try_into().unwrap();
    assert!(failed.contains("`up` has failed") && !failed.contains(url), "{failed}");
    fs::remove_file(project.folder.0.join("workspace/chatctl.toml")).unwrap();

    went_well(&commented(&project, &preview, "closed").await);
    let [closed] = github.by(BOT).try_into().unwrap();
    assert!(closed.contains("removed ") && closed.contains("nothing is left") && !closed.contains(url), "{closed}");
    assert_eq!(github.by("eve"), ["<!-- chatctl: pr-7 -->\nclick here"]);
}

#[tokio::test]
async fn a_comment_shows_the_plan_and_hostile_text_stays_text() {
    let (project, github) = discussed().await;
    let hostile =
        "```\n</details><img src=x onerror=alert(1)> @everyone #1 <!-- --> [x](javascript:alert(1)) | ~~~ <script>";
    fs::write(project.folder.0.join("workspace/chatctl.toml"), "[tags]\nteam = \"a\"\n").unwrap();
    let plan = with_comment(&project, "plan");
    went_well(&project.github("deploy", json!({})).await);
    // By hand, in AWS, where tags take more than ours do.
    let lambda = aws_sdk_lambda::Client::new(&project.aws());
    let arn = format!("arn:aws:lambda:us-east-1:{}:function:chat-onConnect", project.account);
    lambda.tag_resource().resource(arn).tags("team", hostile).send().await.unwrap();
    let report = commented(&project, &plan, "opened").await;
    went_well(&report);
    let [comment] = github.by(BOT).try_into().unwrap();
    assert!(comment.contains("## Plan for `chat` in us-east-1") && comment.contains("to update"), "{comment}");
    let html = rendered(&comment).await;
    assert!(html.contains("onerror=alert(1)&gt; @everyone #1"), "{html}");
    let text = without_code(&html);
    for hostile in ["<img", "<script", "@everyone", "javascript:", "</details>"] {
        assert!(!text.contains(hostile), "{hostile}: {html}");
    }
}

#[tokio::test]
async fn a_comment_that_cannot_be_written_is_a_warning() {
    let (project, github) = discussed().await;
    let plan = json!({ "verb": "plan", "comment": true });
    let report = commented(&project, &job(&project, &json!({ "contents": "read" }), &plan), "opened").await;
    went_well(&report);
    let log = report["log"].as_str().unwrap();
    let warning = "::warning title=chatctl::GitHub did not take the comment: 403 Forbidden; the job needs `pull-requests: write`\n";
    assert!(log.contains(warning) && github.by(BOT).is_empty(), "{log}");

    // Upon a push there is no pull request.
    let file = job(&project, &json!({ "pull-requests": "write" }), &plan);
    let report = project.run(json!({ "kind": "github", "file": file, "github": { "event": {} }, "vars": {} })).await;
    went_well(&report);
    assert!(report["log"].as_str().unwrap().contains("::notice title=chatctl::this is no pull request"), "{report}");
}

/// As GitHub shows it, but with every element of HTML let through that it would take out.
async fn rendered(markdown: &str) -> String {
    let script = "import sys, cmarkgfm; from cmarkgfm.cmark import Options\n\
                  print(cmarkgfm.markdown_to_html_with_extensions(sys.argv[1], Options.CMARK_OPT_UNSAFE, ['table', 'autolink']))";
    let mut command = python_tools().await.command("python");
    let output = command.args(["-c", script, markdown]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn without_code(html: &str) -> String {
    let mut parts = html.split("<code");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once("</code>").unwrap().1)
}
