//! The behaviours of AWS that the model has, each with its measure.

use std::time::Duration;

/// A token bucket: so many calls a second, so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

/// Which behaviours of AWS are on, and how strongly. The default is AWS on an ordinary day.
///
/// A duration of zero or a rate of `None` turns a behaviour off. The ids name entries of the AWS facts page.
#[derive(Clone, Debug)]
pub struct Switches {
    /// Every id, and the jitter of the SDK's retries on the thread that makes the world, follows from it.
    pub seed: u64,
    /// How long a call takes; its effect happens half-way.
    pub latency: Duration,
    /// The longest page of any list (G5). AWS's own are 25 to 100.
    pub page_size: usize,

    /// A young role cannot be assumed by Lambda for so long (L1).
    pub iam_propagation: Duration,
    /// Reads of and writes to a young role say `NoSuchEntity` for so long (I1). Off by default.
    pub iam_role_window: Duration,
    /// A young inline policy is not yet readable for so long (I1). Off by default.
    pub iam_policy_window: Duration,
    /// Reads of a role and of its policies may give them as they were before any write of the last so many seconds: each
    /// read as the dice fall (I1). Off by default.
    pub iam_read_lag: Duration,
    /// `DeleteConflict` lingers for so long after the last policy left the role (I3).
    pub iam_delete_linger: Duration,
    /// Two writes on one role that overlap in time: the later is refused (I4).
    pub iam_concurrent_modification: bool,
    /// Functions that the account may run at once (L8).
    pub concurrent_executions: i64,
    /// Roles in one account (I4).
    pub role_quota: usize,

    /// `State` is `Pending` for so long (L3).
    pub function_pending: Duration,
    /// `LastUpdateStatus` is `InProgress` for so long (L3).
    pub function_updating: Duration,
    /// `State` is `Deleting` for so long (L5).
    pub function_deleting: Duration,
    /// Two policy writes on one function that overlap in time: the later is refused (L7).
    pub policy_conflicts: bool,
    /// All control calls of Lambda but the reads below (L8).
    pub lambda_rate: Option<Rate>,
    /// `GetFunction` (L8).
    pub lambda_get_function_rate: Option<Rate>,
    /// `GetPolicy` (L8).
    pub lambda_get_policy_rate: Option<Rate>,

    /// `CREATING` for so long (D1).
    pub table_creating: Duration,
    /// `DescribeTable` of a young table says not found for so long (D1). Off by default.
    pub table_window: Duration,
    /// `UPDATING` for so long (D2).
    pub table_updating: Duration,
    /// `DELETING` for so long (D2).
    pub table_deleting: Duration,
    /// The time to live is `ENABLING` or `DISABLING` for so long (D8).
    pub ttl_settling: Duration,
    /// No second change of the time to live within so long (D8).
    pub ttl_cooldown: Duration,
    /// Reads of a table's tags may give older ones, none or not found for so long at most after each write of them: each
    /// read as the dice fall (D9). Off by default.
    pub table_tags_lag: Duration,
    /// `ListTagsOfResource` (D4).
    pub table_list_tags_rate: Option<Rate>,
    /// `TagResource` and `UntagResource` (D4).
    pub table_tag_rate: Option<Rate>,

    /// A queue is not seen for so long after its creation (Q2).
    pub queue_creating: Duration,
    /// Reads of a queue give what was before a write for so long (Q2).
    pub queue_lag: Duration,
    /// Nobody may have the name of a queue that was deleted for so long (Q2).
    pub queue_name_kept: Duration,
    /// A mapping is `Creating` or `Updating` for so long, and `Deleting` for twice as long (Q4).
    pub mapping_settling: Duration,
    /// What a role may do, a new mapping sees so late (Q3).
    pub mapping_sees_policy: Duration,

    /// Reads of an alarm give what was before a write for so long (W3).
    pub alarm_lag: Duration,

    /// Two writes on one API that overlap in time: the later is refused (G2).
    pub api_conflicts: bool,
    /// Management calls of API Gateway, an account and region together (G1).
    pub apigateway_rate: Option<Rate>,
    /// `CreateDeployment`, an account and region together (G1).
    pub deployment_rate: Option<Rate>,
    /// A deployment is `PENDING` for so long, and no stage takes it before (G9).
    pub deployment_pending: Duration,
    /// `CreateIntegration` wants the function to exist (U1). Off by default.
    pub integration_checks_function: bool,

    /// Lists show what was made, and `GetApis` still what is gone, so late. Off by default.
    pub list_lag: Duration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            seed: 1,
            latency: Duration::from_millis(30),
            page_size: 2,
            iam_propagation: Duration::from_secs(10),
            iam_role_window: Duration::ZERO,
            iam_policy_window: Duration::ZERO,
            iam_read_lag: Duration::ZERO,
            iam_delete_linger: Duration::from_secs(1),
            iam_concurrent_modification: true,
            concurrent_executions: 1_000,
            role_quota: 5_000,
            function_pending: Duration::from_secs(3),
            function_updating: Duration::from_secs(2),
            function_deleting: Duration::from_secs(1),
            policy_conflicts: true,
            lambda_rate: Some(Rate { per_second: 15.0, burst: 15.0 }),
            lambda_get_function_rate: Some(Rate { per_second: 100.0, burst: 100.0 }),
            lambda_get_policy_rate: Some(Rate { per_second: 15.0, burst: 15.0 }),
            table_creating: Duration::from_secs(7),
            table_window: Duration::ZERO,
            table_updating: Duration::from_secs(2),
            table_deleting: Duration::from_secs(5),
            ttl_settling: Duration::from_secs(60),
            ttl_cooldown: Duration::from_secs(3_600),
            table_tags_lag: Duration::ZERO,
            table_list_tags_rate: Some(Rate { per_second: 10.0, burst: 10.0 }),
            table_tag_rate: Some(Rate { per_second: 5.0, burst: 5.0 }),
            queue_creating: Duration::from_secs(1),
            queue_lag: Duration::from_secs(5),
            queue_name_kept: Duration::from_secs(60),
            mapping_settling: Duration::from_secs(5),
            mapping_sees_policy: Duration::from_secs(15),
            alarm_lag: Duration::from_secs(2),
            api_conflicts: true,
            apigateway_rate: Some(Rate { per_second: 10.0, burst: 40.0 }),
            deployment_rate: Some(Rate { per_second: 0.2, burst: 1.0 }),
            deployment_pending: Duration::from_secs(1),
            integration_checks_function: false,
            list_lag: Duration::ZERO,
        }
    }
}

impl Switches {
    /// The same seed, everything at once, nothing throttled: what an emulator does.
    pub fn instant() -> Self {
        Self {
            latency: Duration::from_millis(1),
            page_size: 100,
            iam_propagation: Duration::ZERO,
            iam_delete_linger: Duration::ZERO,
            function_pending: Duration::ZERO,
            function_updating: Duration::ZERO,
            function_deleting: Duration::ZERO,
            table_creating: Duration::ZERO,
            table_updating: Duration::ZERO,
            table_deleting: Duration::ZERO,
            ttl_settling: Duration::ZERO,
            ttl_cooldown: Duration::ZERO,
            queue_creating: Duration::ZERO,
            queue_lag: Duration::ZERO,
            queue_name_kept: Duration::ZERO,
            mapping_settling: Duration::ZERO,
            mapping_sees_policy: Duration::ZERO,
            alarm_lag: Duration::ZERO,
            deployment_pending: Duration::ZERO,
            ..Self::default().unthrottled()
        }
    }

    /// A bad day: the default, and every read may be older than the last write.
    pub fn rough() -> Self {
        Self {
            iam_propagation: Duration::from_secs(45),
            iam_role_window: Duration::from_secs(2),
            iam_policy_window: Duration::from_secs(2),
            iam_read_lag: Duration::from_secs(20),
            table_creating: Duration::from_secs(20),
            table_window: Duration::from_secs(1),
            table_deleting: Duration::from_secs(25),
            table_tags_lag: Duration::from_secs(20),
            queue_creating: Duration::from_secs(3),
            queue_lag: Duration::from_secs(60),
            mapping_settling: Duration::from_secs(20),
            mapping_sees_policy: Duration::from_secs(40),
            list_lag: Duration::from_secs(3),
            ..Self::default()
        }
    }

    /// These switches without any request quota.
    pub fn unthrottled(self) -> Self {
        Self {
            lambda_rate: None,
            lambda_get_function_rate: None,
            lambda_get_policy_rate: None,
            table_list_tags_rate: None,
            table_tag_rate: None,
            apigateway_rate: None,
            deployment_rate: None,
            ..self
        }
    }
}
