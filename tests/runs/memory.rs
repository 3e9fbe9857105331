//! Flags are not remembered: what a run without them takes away is said before it is gone.

use chatctl::error::Exit;
use serde_json::Value;
use support::{ACCOUNT, REGION, brisk, put_function, run};
use world::World;

const GATE: &str = "--authorizer arn:aws:lambda:eu-central-1:111122223333:function:gate";
const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/edge";

fn warnings(json: &Value) -> Vec<String> {
    let all = json["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
    all.filter(|text| text.contains("not remembered")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_flag_of_an_earlier_run_has_brought_does_not_go_silently() {
    for (flags, setting, now) in [
        ("--delivery queue", "delivery", "messages no longer go through a queue"),
        (GATE, "authorizer", "everybody may connect"),
        ("--authorizer iam", "authorizer", "everybody may connect"),
        (
            "--authorizer jwt --jwt-issuer https://issuer.example --jwt-audience chat",
            "authorizer",
            "everybody may connect",
        ),
        ("--ttl 72h", "ttl", "`reap` will never remove it"),
        (
            &format!("--permissions-boundary {BOUNDARY}"),
            "permissions-boundary",
            "what the roles may do is no longer bounded",
        ),
    ] {
        let world = World::new(brisk());
        put_function(&world, REGION, "gate");
        world.edit(|state| state.account(ACCOUNT).managed_policies.insert(BOUNDARY.to_owned()));
        let up = async |flags: &str| {
            let ended = run(&world, &format!("up -o json {flags}")).await.expect(Exit::Done);
            (warnings(&ended.json()), ended.stderr)
        };
        for _ in 0..2 {
            assert_eq!(up(flags).await.0, [""; 0], "{flags}");
        }
        let warning =
            format!("{now}: nothing asks for `{setting}` any more; flags are not remembered, `chatctl.toml` is");
        let plan = run(&world, "plan").await.expect(Exit::Done).stdout;
        assert!(plan.ends_with(&format!("\nwarning: {warning}\n")), "{flags}: {plan}");
        assert_eq!(warnings(&run(&world, "plan -o json").await.json()), [warning.as_str()]);
        // A removal takes all.
        assert_eq!(warnings(&run(&world, "plan -o json --destroy").await.json()), [""; 0]);
        assert_eq!(warnings(&run(&world, &format!("plan -o json --memory 1024 {flags}")).await.json()), [""; 0]);
        let (warned, said) = up("").await;
        assert_eq!(warned, [warning.as_str()]);
        let is_first = |said: &str| said.find(&format!("warning: {warning}\n")) < said.find(" s)\n");
        assert!(said.contains(&warning) && is_first(&said), "{said}");
        assert_eq!(up("").await.0, [""; 0]);
    }
}
