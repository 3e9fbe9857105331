//! Test tools from PyPI, pinned by hash, in an environment of their own below `target/`.

use std::fs;
use std::path::PathBuf;

use chatctl::local::Python;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{Service, data_dir, env, turn};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Prints the port of a free socket and serves on it until stdin ends.
const SERVE: &str = "
import os, socket, sys, threading
def listen():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    return listener
def until_eof():
    while os.read(0, 4096):
        pass
    os._exit(0)
threading.Thread(target=until_eof, daemon=True).start()
";

const MICROBURST: &str = "
import yaml
from aiohttp import web
from microburst.app import make_app
from microburst.core.pipeline import Microburst
upstream, rules = sys.argv[1:]
web.run_app(make_app(Microburst(upstream, rules=yaml.safe_load(rules) or [])), sock=listen(), print=None)
";

const MOTO: &str = "
import json, logging
from uuid import uuid4
from moto.apigatewayv2 import urls
from moto.apigatewayv2.models import Stage
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger('werkzeug').setLevel(logging.ERROR)
listener = listen()
# Which it has not: it breaks off with 500 instead.
ApiGatewayV2Response.get_authorizers = lambda self: '{\"items\": []}'
if 'deployments' in sys.argv:
    made = {}
    def of(self):
        return made.setdefault(self.path.split('/apis/')[1].split('/')[0], [])
    def create(self):
        one = {'deploymentId': f'd{uuid4().hex}', 'deploymentStatus': 'DEPLOYED', 'createdDate': '2026-01-01T00:00:00Z'}
        of(self).append({**one, 'description': json.loads(self.body or '{}').get('description')})
        return 201, {}, json.dumps(one)
    def delete(self):
        of(self)[:] = [one for one in of(self) if one['deploymentId'] != self.path.split('/')[-1]]
        return 204, {}, ''
    for path in ['', '/(?P<deployment_id>[^/]+)']:
        urls.url_paths['{0}/v2/apis/(?P<api_id>[^/]+)/deployments' + path + '$'] = ApiGatewayV2Response.dispatch
    ApiGatewayV2Response.create_deployment = create
    ApiGatewayV2Response.get_deployments = lambda self: json.dumps({'items': of(self)})
    ApiGatewayV2Response.delete_deployment = delete
    shown = Stage.to_json
    Stage.to_json = lambda self: {**shown(self), 'deploymentId': self.config.get('deploymentId')}
app = DomainDispatcherApplication(create_backend_app)
make_server('127.0.0.1', listener.getsockname()[1], app, threaded=True, fd=listener.fileno()).serve_forever()
";

/// microburst, cfn-lint, parliament, websockets, boto3 and moto.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// A program that one of the packages brings (`cfn-lint`, `parliament`), or `python`.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join("venv/bin").join(name));
        // Compiled when first used: a machine that forbids to keep that would pay for it in each run.
        command.env_remove("PYTHONDONTWRITEBYTECODE").kill_on_drop(true);
        command
    }
}

/// The tools; the first test that asks for them fetches them, which takes a minute.
pub async fn python_tools() -> Tools {
    let hash = Sha256::digest(REQUIREMENTS).iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    let folder = data_dir().join(format!("tools-{hash}"));
    let whole = folder.join("whole");
    let _turn = turn("tools.lock").await;
    if !whole.exists() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        fs::write(folder.join("requirements.txt"), REQUIREMENTS).expect("the target folder can be written to");
        eprintln!("installing the test tools");
        let python = Python::find(&env()).await.unwrap_or_else(|error| panic!("{error}"));
        python.install(&folder, &env()).await.unwrap_or_else(|error| panic!("{error}"));
        fs::write(&whole, "").expect("the target folder can be written to");
    }
    Tools { folder }
}

/// microburst before `upstream`, breaking calls by `rules` (its YAML list). It sends its own `Host`, so signatures of
/// IAM users do not survive it; root users of MiniStack need none.
pub async fn microburst(upstream: &str, rules: &str) -> Service {
    let tools = python_tools().await;
    Service::start(tools.command("python"), &format!("{SERVE}{MICROBURST}"), &[upstream, rules]).await
}

/// An empty moto: another model of AWS's control plane, with no data plane.
pub async fn moto() -> Service {
    let tools = python_tools().await;
    Service::start(tools.command("python"), &format!("{SERVE}{MOTO}"), &[]).await
}

/// The same with deployments of APIs, which it has not.
pub async fn moto_with_deployments() -> Service {
    let tools = python_tools().await;
    Service::start(tools.command("python"), &format!("{SERVE}{MOTO}"), &["deployments"]).await
}
