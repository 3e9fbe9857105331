//! Faults at every call: transient ones are ridden out, permanent ones end in exit 1 with the call, the code, what
//! stands and a hint. Never a duplicate, never a hang.

use std::collections::{BTreeMap, BTreeSet};

use chatctl::error::Exit;
use support::{ACCOUNT, Ended, Process, assert_nothing_left, assert_whole, run};
use world::{Call, CallInfo, Fault, Service, Snapshot, Verdict, World};

const PATIENT: &str = "patient";

fn world() -> World {
    World::new(support::brisk())
}

/// Runs `line` with `verdict` at its call `k`, once, and what is permanent from there on; the call it hit, if there
/// was one.
async fn run_with(world: &World, line: &str, k: usize, verdict: &Verdict) -> (Option<&'static str>, Ended) {
    world.clear_calls();
    let (verdict, stays) = (verdict.clone(), stays(verdict));
    world.set_interceptor(
        move |call: &CallInfo| {
            if call.seq == k || (stays && call.seq > k) { verdict.clone() } else { Verdict::Pass }
        },
    );
    let ended = Process::new(world, line).label(PATIENT).run().await;
    world.clear_interceptor();
    (world.calls().get(k).map(|call| call.operation), ended)
}

/// A call of the undisturbed run, at which a fault may strike.
struct Place {
    call: Call,
    /// The first read or the first write of its service.
    first: bool,
}

/// What is denied once is denied for good.
fn stays(fault: &Verdict) -> bool {
    matches!(fault, Verdict::FailBefore(Fault::AccessDenied | Fault::ExpiredToken))
}

/// Where a fault may strike a run of `verb` from there: calls of one operation that arrive at the same instant, and so
/// find the same world, together. Reads of the same thing with no write between them are one place.
async fn places(begun: &Snapshot, verb: &str) -> Vec<Vec<Place>> {
    let world = begun.world();
    run(&world, verb).await.expect(Exit::Done);
    let (mut services, mut seen, mut writes) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut places = BTreeMap::<_, Vec<Place>>::new();
    for call in world.calls() {
        writes += usize::from(call.write);
        if call.write || seen.insert((call.operation, call.resource.clone(), writes)) {
            let first = services.insert((format!("{:?}", call.service), call.write));
            places.entry((call.start, call.operation)).or_default().push(Place { call, first });
        }
    }
    places.into_values().collect()
}

/// The faults of a place, at every place of `verb`; `check` says what must hold of how the run ended. Where it ended well all
/// is as it has to be, also without another run; where it did not, an undisturbed one makes it so. Of calls that arrive
/// together each fault strikes the next in turn; one that stays strikes each, because it lets through those before it.
async fn everywhere(verb: &str, faults: fn(&Place) -> Vec<Verdict>, check: impl Fn(&Ended, &Verdict, &str)) -> usize {
    let begun = world();
    let (first, settings) = verb.split_once(' ').unwrap_or((verb, ""));
    if first != "up" {
        run(&begun, &format!("up {settings}")).await.expect(Exit::Done);
    }
    let begun = begun.snapshot();
    let as_it_was = begun.world().everything(ACCOUNT);
    let holds = |world: &World| match first {
        "up" => assert_whole(world, "chat"),
        "down" => assert_nothing_left(world),
        _ => assert_eq!(world.everything(ACCOUNT), as_it_was),
    };
    let (mut cases, mut runs) = (0, 0);
    let mut repaired = BTreeSet::new();
    for together in places(&begun, verb).await {
        cases += together.iter().map(|place| faults(place).len()).sum::<usize>();
        for (turn, fault) in faults(&together[0]).into_iter().enumerate() {
            let one = turn % together.len();
            let struck = if stays(&fault) { &together[..] } else { &together[one..=one] };
            for place in struck {
                let world = begun.world();
                let (hit, ended) = run_with(&world, verb, place.call.seq, &fault).await;
                let what = format!("{verb}: {fault:?} at {} ({})", place.call.seq, place.call.operation);
                assert_eq!(hit, Some(place.call.operation), "{what}");
                runs += 1;
                check(&ended, &fault, &what);
                if ended.exit == Some(Exit::Done) {
                    holds(&world);
                    if first == "up" && place.call.write {
                        let status = run(&world, &format!("status {settings}")).await;
                        assert_eq!(status.exit, Some(Exit::Done), "after {what}:\n{}", status.stdout);
                    }
                } else if repaired.insert(world.everything(ACCOUNT)) {
                    let quiet = run(&world, verb).await;
                    assert_eq!(quiet.exit, Some(Exit::Done), "after {what}:\n{}", quiet.stderr);
                    holds(&world);
                }
            }
        }
    }
    println!("{verb}: {cases} cases in {runs} runs, {} of them repaired by another run", repaired.len());
    cases
}

/// For whom only reads there is no difference whether the call or its answer was lost, except of the answer itself. The
/// numbers of servers in trouble are one class: all of them at the first calls of each service.
fn transient(place: &Place) -> Vec<Verdict> {
    let mut faults = vec![Verdict::FailBefore(Fault::Throttle), Verdict::FailAfter(Fault::HalfBody)];
    for fault in [Fault::ServerError(500), Fault::Reset, Fault::Timeout] {
        faults.push(Verdict::FailBefore(fault.clone()));
        faults.extend(place.call.write.then_some(Verdict::FailAfter(fault)));
    }
    faults.extend(place.call.write.then_some(Verdict::FailBefore(Fault::HalfBody)));
    if place.first {
        faults.extend([502, 503, 504].map(|status| Verdict::FailBefore(Fault::ServerError(status))));
    }
    faults
}

fn ridden_out(ended: &Ended, _: &Verdict, what: &str) {
    assert_eq!(ended.exit, Some(Exit::Done), "{what}:\n{}", ended.stderr);
}

#[tokio::test(start_paused = true)]
async fn up_rides_out_every_transient_fault_at_every_call() {
    let cases = everywhere("up", transient, ridden_out).await;
    assert!(cases > 400, "only {cases} cases");
}

#[tokio::test(start_paused = true)]
async fn down_rides_out_every_transient_fault_at_every_call() {
    everywhere("down", transient, ridden_out).await;
}

#[tokio::test(start_paused = true)]
async fn status_rides_out_every_transient_fault_at_every_call() {
    everywhere("status", transient, ridden_out).await;
}

/// Faults of the services that only a queue needs.
#[tokio::test(start_paused = true)]
async fn a_queue_is_made_and_removed_through_every_transient_fault_at_its_calls() {
    let of_queue = |place: &Place| {
        let name = place.call.operation;
        let is_of_queue = ["Queue", "EventSourceMapping"].iter().any(|of| name.contains(of));
        if is_of_queue { transient(place) } else { vec![] }
    };
    for verb in ["up --delivery queue", "down --delivery queue", "status --delivery queue"] {
        let cases = everywhere(verb, of_queue, ridden_out).await;
        assert!(cases > 20, "{verb}: only {cases} cases");
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_faults_end_in_exit_1_with_call_code_and_hint() {
    let permanent = |_: &Place| [Fault::AccessDenied, Fault::ExpiredToken].map(Verdict::FailBefore).to_vec();
    for verb in ["up", "down", "status"] {
        everywhere(verb, permanent, |ended, fault, what| {
            let code = match fault {
                Verdict::FailBefore(Fault::AccessDenied) => "AccessDenied",
                _ => "ExpiredToken",
            };
            assert_eq!(ended.exit, Some(Exit::Failed), "{what}:\n{}", ended.stderr);
            assert!(ended.stderr.contains(code), "{what}:\n{}", ended.stderr);
            assert!(ended.stderr.contains("hint: "), "{what}:\n{}", ended.stderr);
            assert!(ended.stderr.contains("request id"), "{what}:\n{}", ended.stderr);
            assert_eq!(ended.stdout, "", "{what}");
        })
        .await;
    }
}

/// A clock that is off fails every call, not one; the SDK may correct it, and then it is no failure at all.
#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_named_or_corrected() {
    let world = world();
    world.set_interceptor(|_| Verdict::FailBefore(Fault::ClockSkew));
    let ended = run(&world, "up").await.expect(Exit::Failed);
    assert!(ended.stderr.contains("clock"), "{}", ended.stderr);
    let skewed = |_: &Place| vec![Verdict::FailBefore(Fault::ClockSkew)];
    everywhere("up", skewed, |ended, _, what| {
        let named = ended.exit == Some(Exit::Failed) && ended.stderr.contains("clock");
        assert!(named || ended.exit == Some(Exit::Done), "{what}:\n{}", ended.stderr);
    })
    .await;
}

/// A region that the account has not enabled knows no credentials of it.
#[tokio::test(start_paused = true)]
async fn credentials_that_are_not_known_may_be_of_a_region_that_is_not_enabled() {
    for code in ["UnrecognizedClientException", "InvalidClientTokenId"] {
        let world = world();
        world.set_interceptor(move |_| {
            Verdict::FailBefore(Fault::status(403, code, "The security token included in the request is invalid."))
        });
        let ended = run(&world, "status").await.expect(Exit::Failed);
        assert!(ended.stderr.contains("or the region is not enabled in this account"), "{}", ended.stderr);
    }
}

/// Some emulators lack calls, and answer them as any web server does. `up` says so; `down` removes all the same what
/// goes with its API.
#[tokio::test(start_paused = true)]
async fn an_endpoint_without_deployments_is_named_and_left_clean() {
    let world = world();
    world.set_interceptor(|call| match call.operation {
        "CreateDeployment" | "GetDeployments" => Verdict::FailBefore(Fault::status(404, "", "Not Found")),
        _ => Verdict::Pass,
    });
    for verb in ["up", "up", "status"] {
        let ended = run(&world, verb).await.expect(Exit::Failed);
        assert!(ended.stderr.contains("Deployment"), "{}", ended.stderr);
        assert!(ended.stderr.contains("does not know this call"), "{}", ended.stderr);
    }
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// Nobody ever answers: no verb waits longer than it was told to, also those that only go on once they have begun.
#[tokio::test(start_paused = true)]
async fn every_verb_ends_by_its_timeout() {
    for verb in ["up", "down", "status", "plan", "list", "reap", "verify", "logs", "logs -f", "chat", "open", "redrive"]
    {
        let world = world();
        world.set_interceptor(|_| Verdict::FailBefore(Fault::Timeout));
        let ended = run(&world, &format!("{verb} --timeout 5s")).await.expect(Exit::Failed);
        assert!(ended.stderr.contains("error: not done within 5s"), "{verb}: {}", ended.stderr);
        assert!(world.now() <= std::time::Duration::from_secs(5), "{verb}: {:?}", world.now());
        let continues = ended.stderr.contains("run the same command again, which continues where this run stopped");
        assert_eq!(continues, ["up", "down", "reap", "redrive"].contains(&verb), "{verb}: {}", ended.stderr);
    }
}

/// A failure of many ends with numbers and a hint; `-v` and JSON have every name.
#[tokio::test(start_paused = true)]
async fn a_failure_of_many_ends_with_numbers_not_with_a_wall_of_names() {
    let world = world();
    world.set_interceptor(|call| match call.operation {
        "CreateApi" => Verdict::FailBefore(Fault::status(400, "BadRequestException", "no")),
        _ => Verdict::Pass,
    });
    let told = |ended: &Ended| ended.stderr.split_once("\nerror: ").expect("an error").1.to_owned();
    let plain = told(&run(&world, "up").await.expect(Exit::Failed));
    assert!(plain.contains("\nexists now: 11 resources; `-v` names them\n"), "{plain}");
    assert!(plain.contains("\nnot started because of that: 13 resources\n"), "{plain}");
    assert!(plain.lines().all(|line| line.len() < 160), "{plain}");
    let verbose = told(&run(&world, "up -v").await.expect(Exit::Failed));
    let names = verbose.lines().find_map(|line| line.strip_prefix("exists now: ")).expect("names");
    assert_eq!(names.split(", ").count(), 11, "{verbose}");
    let json = run(&world, "up -o json").await.expect(Exit::Failed).json();
    assert_eq!(json["error"]["leftovers"].as_array().map(Vec::len), Some(11), "{json}");
}

/// The limit is for what has an end: logs are followed for longer than that.
#[tokio::test(start_paused = true)]
async fn what_goes_on_until_interrupted_outlives_its_timeout() {
    let world = world();
    run(&world, "up").await.expect(Exit::Done);
    let follow = Process::new(&world, "logs -f --timeout 5s");
    let interrupt = follow.interrupt.clone();
    let (ended, ()) = tokio::join!(follow.run(), async {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        interrupt.raise();
    });
    ended.expect(Exit::Interrupted);
}

/// 6 MB of handlers are 8 MB in a call, which a slow line takes half a minute for.
#[tokio::test(start_paused = true)]
async fn a_large_upload_is_given_the_time_it_takes() {
    let folder = support::Folder::new();
    for function in ["onConnect", "onDisconnect", "sendMessage"] {
        std::fs::write(folder.0.join(format!("{function}.mjs")), "export const handler = () => {}").unwrap();
    }
    let mut random = fastrand::Rng::with_seed(1);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(6 * 1024 * 1024).collect();
    std::fs::write(folder.0.join("model.bin"), bytes).unwrap();
    let world = world();
    for line in ["up", "up --architecture x86_64"] {
        world.clear_calls();
        world.set_interceptor(|call| match call.operation {
            "CreateFunction" | "UpdateFunctionCode" => Verdict::Latency(std::time::Duration::from_secs(40)),
            _ => Verdict::Pass,
        });
        run(&world, &format!("{line} --handlers {}", folder.0.display())).await.expect(Exit::Done);
        let uploads =
            world.calls().into_iter().filter(|call| ["CreateFunction", "UpdateFunctionCode"].contains(&call.operation));
        assert!(uploads.clone().count() > 0);
        assert!(uploads.clone().all(|call| call.attempt == 1), "an upload was broken off");
    }
}

/// Somebody put a role of ours into an instance profile: that is said, instead of trying for minutes (I3).
#[tokio::test(start_paused = true)]
async fn a_role_in_an_instance_profile_is_named_with_what_to_do() {
    let world = world();
    run(&world, "up").await.expect(Exit::Done);
    let profile = |world: &World, name: Option<&str>| {
        world.edit(|state| {
            let roles = state.account(support::ACCOUNT).roles.values_mut();
            roles.for_each(|role| role.instance_profiles = name.map(str::to_owned).into_iter().collect());
        });
    };
    profile(&world, Some("servers"));
    let began = world.now();
    let ended = run(&world, "down").await.expect(Exit::Failed);
    assert!(ended.stderr.contains("hint: somebody put the role into an instance profile"), "{}", ended.stderr);
    assert!(world.now().saturating_sub(began) < std::time::Duration::from_secs(60), "it tried for minutes");
    profile(&world, None);
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// A route has let go of its authorizer, and API Gateway takes a moment to know.
#[tokio::test(start_paused = true)]
async fn an_authorizer_that_is_just_let_go_of_is_deleted_a_moment_later() {
    let world = world();
    world.edit(|state| {
        let gate = "arn:aws:lambda:eu-central-1:111122223333:function:gate".to_owned();
        let gate = world::Function { name: "gate".to_owned(), arn: gate, ..world::Function::default() };
        state.region(support::ACCOUNT, support::REGION).functions.insert("gate".to_owned(), gate);
    });
    run(&world, "up --authorizer arn:aws:lambda:eu-central-1:111122223333:function:gate").await.expect(Exit::Done);
    let refusals = std::sync::atomic::AtomicUsize::new(0);
    world.set_interceptor(move |call| {
        let refused =
            call.operation == "DeleteAuthorizer" && refusals.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        let conflict = Fault::status(409, "ConflictException", "Cannot delete authorizer, it is referenced by a route");
        if refused { Verdict::FailBefore(conflict) } else { Verdict::Pass }
    });
    world.clear_calls();
    let ended = run(&world, "up").await.expect(Exit::Done);
    assert!(!ended.stderr.contains("failed"), "{}", ended.stderr);
}

/// What a creation refers to and is not there does not come by looking again.
#[tokio::test(start_paused = true)]
async fn a_boundary_that_is_not_there_is_told_in_the_words_of_aws() {
    let wrong = "up --permissions-boundary arn:aws:iam::111122223333:policy/missing";
    let world = world();
    for _ in ["made with it", "given it later"] {
        let ended = run(&world, wrong).await.expect(Exit::Failed);
        let said =
            "NoSuchEntity: Scope ARN: arn:aws:iam::111122223333:policy/missing does not exist or is not attachable";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
        let looks = world.calls().iter().filter(|call| call.operation == "GetRole").count();
        assert_eq!(looks, 3, "one at each role");
        run(&world, "up").await.expect(Exit::Done);
        world.clear_calls();
    }
}

/// A world that goes on moving is looked at again ever later, and in the end what failed is told.
#[tokio::test(start_paused = true)]
async fn what_never_converges_says_what_failed_last() {
    let world = world();
    world.set_interceptor(|call| match call.operation {
        "CreateRoute" => {
            Verdict::FailBefore(Fault::status(404, "NotFoundException", "Invalid API identifier specified"))
        }
        _ => Verdict::Pass,
    });
    let ended = run(&world, "up -o json").await.expect(Exit::Failed);
    assert_eq!(ended.json()["error"]["code"], "NotConverging");
    let message = ended.json()["error"]["message"].to_string();
    assert!(message.contains("route $connect"), "{message}");
    assert!(
        message.contains("`apigateway:CreateRoute` failed with NotFoundException: Invalid API identifier"),
        "{message}"
    );
    assert!(message.contains("and 1 more failed"), "{message}");
    let mut looks: Vec<_> =
        world.calls().iter().filter(|call| call.operation == "GetApis").map(|call| call.start).collect();
    looks.dedup_by_key(|at| at.as_secs());
    let gaps: Vec<_> = looks.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    // Each is drawn from a range that begins where the one before has ended.
    assert!(gaps.len() >= 4 && gaps[gaps.len() - 4..].is_sorted_by(|one, next| one < next), "{gaps:?}");
}

/// The SDK sends the creation of an API once (G4); what the program adds to that has an end.
#[tokio::test(start_paused = true)]
async fn an_api_that_cannot_be_made_is_given_up_after_five_tries() {
    let world = world();
    world.set_interceptor(|call| match call.operation {
        "CreateApi" => Verdict::FailBefore(Fault::ServerError(503)),
        _ => Verdict::Pass,
    });
    let ended = run(&world, "up -o json").await.expect(Exit::Failed).json();
    assert_eq!(ended["error"]["code"], "ServiceUnavailable", "{ended}");
    assert!(!ended["error"]["message"].to_string().contains("more failed"), "{ended}");
    assert_eq!(world.calls().iter().filter(|call| call.operation == "CreateApi").count(), 5);
}

/// The SDK would wait longer for a quota of ten a second, and give up sooner (G1, L8): its second try would succeed here.
#[tokio::test(start_paused = true)]
async fn what_a_quota_has_refused_is_not_tried_again_by_the_sdk() {
    let world = world();
    world.set_interceptor(|call| {
        let refused = matches!(call.service, Service::ApiGateway | Service::Lambda) && call.seq % 2 == 0;
        if refused && call.attempt == 1 { Verdict::FailBefore(Fault::Throttle) } else { Verdict::Pass }
    });
    run(&world, "up").await.expect(Exit::Done);
    let calls = world.calls();
    assert!(calls.iter().filter(|call| call.status == Some(429)).count() > 5);
    assert!(calls.iter().all(|call| call.attempt == 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_always_breaks_off_is_named() {
    let world = world();
    world.set_interceptor(|call| match call.operation {
        "GetApis" => Verdict::FailAfter(Fault::HalfBody),
        _ => Verdict::Pass,
    });
    let ended = run(&world, "status -o json").await.expect(Exit::Failed).json();
    assert_eq!(ended["error"]["code"], "BadResponse", "{ended}");
}

/// A wait of ours ends before the run has to, and says what it was for.
#[tokio::test(start_paused = true)]
async fn a_table_that_never_settles_is_given_up_before_the_deadline() {
    let world = world();
    world.switch(|switches| switches.table_creating = std::time::Duration::from_secs(10_000));
    let up = run(&world, "up --timeout 1h").await.expect(Exit::Failed);
    assert!(up.stderr.contains("the table has not settled in time"), "{}", up.stderr);
}

/// It is as wanted, but nobody can call it yet: a URL would be a promise.
#[tokio::test(start_paused = true)]
async fn a_function_that_never_becomes_active_is_no_success() {
    let world = world();
    world.switch(|switches| switches.function_pending = std::time::Duration::from_secs(2_000));
    let up = run(&world, "up --timeout 30m").await.expect(Exit::Failed);
    assert_eq!(up.stdout, "");
    let said = "AWS has not finished in 5 minutes: function chat-onConnect, function chat-onDisconnect, function chat-sendMessage";
    assert!(up.stderr.contains(said), "{}", up.stderr);
    run(&world, "status").await.expect(Exit::Differs);
    tokio::time::sleep(std::time::Duration::from_secs(2_000)).await;
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}

/// A service that is down for good: the run ends by its deadline and says so.
#[tokio::test(start_paused = true)]
async fn an_outage_ends_by_the_deadline() {
    let world = world();
    world.set_interceptor(|call| {
        if call.operation == "CreateFunction" { Verdict::FailBefore(Fault::ServerError(503)) } else { Verdict::Pass }
    });
    let ended = run(&world, "up --timeout 5m").await.expect(Exit::Failed);
    assert!(world.now() <= std::time::Duration::from_secs(301), "it took {:?}", world.now());
    assert!(ended.stderr.contains("exists now: "), "{}", ended.stderr);
    world.clear_interceptor();
    run(&world, "up").await.expect(Exit::Done);
    assert_whole(&world, "chat");
}
