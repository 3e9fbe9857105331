//! The facts that this run cannot show, and why. Each other fact is looked at by a step.

const BY_TESTS: &str = "it is about the code of the SDK, and its tests are the proof";
const RARE: &str = "it happens at times, and nobody can make it happen";
const BY_OTHERS: &str = "it is about settings of an organisation or an account that the run does not touch";
const NO_CALL: &str = "no call tells it";
const DEAR: &str = "it would take more than a few cents, or the account's quotas";

pub const UNSHOWN: &[(&str, &str)] = &[
    ("G1", DEAR),
    ("G2", RARE),
    ("G19", "there are WebSocket APIs in the region, or the run would end at once"),
    (
        "L2",
        "a function whose policy comes late would have to be made; that the order suffices, a fresh `up --verify` shows",
    ),
    ("L7", RARE),
    ("L8", DEAR),
    ("L10", NO_CALL),
    ("L15", NO_CALL),
    ("I4", DEAR),
    ("I7", BY_OTHERS),
    ("D1", "the waterfall shows it"),
    ("D2", "the time of `down` shows it"),
    ("D4", DEAR),
    ("D5", BY_TESTS),
    ("D7", "it takes days"),
    ("Q6", "a key of one's own is paid by the month"),
    ("Q8", "the task is not used; what `redrive` does in its place, the step with the queue tells"),
    ("W2", "a message would have to fail, and somebody be told"),
    ("W4", "a topic that takes nothing would have to be there"),
    ("W5", "a message would have to fail, and somebody be told"),
    ("T1", "the tagging API is not used"),
    ("T2", "it is a decision of this project"),
    ("T3", "it is documented, and a deployment has a handful"),
    ("T4", BY_OTHERS),
    ("S2", "one run is in one partition"),
    ("S3", BY_TESTS),
    ("S5", "one run is in one partition"),
    ("R1", BY_TESTS),
    ("R2", BY_TESTS),
    ("R3", BY_TESTS),
    ("R4", BY_TESTS),
    ("R5", BY_TESTS),
    ("R6", BY_TESTS),
    ("H2", NO_CALL),
    ("H3", RARE),
    ("H4", RARE),
    ("H10", DEAR),
    ("H12", "it is about a sample of AWS's"),
    ("H14", RARE),
    ("H15", RARE),
    ("H16", DEAR),
    ("H18", RARE),
    ("U2", "it would need a REST API"),
];
