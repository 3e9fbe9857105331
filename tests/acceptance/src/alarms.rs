//! What CloudWatch does with alarms: looks at the deployment's own.

use aws_sdk_cloudwatch::types::{MetricAlarm, Tag};

use crate::ledger::said;
use crate::life::{Ended, Life, NAME};

const FACTS: [&str; 3] = ["W1", "W3", "W6"];

impl Life<'_> {
    /// Its topic need not be there: nothing goes wrong meanwhile.
    pub async fn alarmed(&mut self) -> Ended {
        let sts = aws_sdk_sts::Client::new(self.place.sdk());
        let caller = sts.get_caller_identity().send().await.map_err(said)?;
        let partition = caller.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        let region = self.place.sdk().region().map(ToString::to_string).unwrap_or_default();
        let account = caller.account().unwrap_or_default();
        let flags = format!("--alarm-topic arn:{partition}:sns:{region}:{account}:{NAME}");
        self.up(&flags).await?;
        self.ends(&format!("status {flags}"), 0).await?;
        let looked = if self.place.sdk().endpoint_url().is_some() {
            for id in FACTS {
                self.ledger.not_reached(id, "an emulator is given no alarm");
            }
            Ok(())
        } else {
            self.look_at_alarm(&flags).await
        };
        self.up("").await?;
        self.ends("status", 0).await?;
        looked.map(|()| String::new())
    }

    async fn look_at_alarm(&mut self, flags: &str) -> Result<(), String> {
        let cloudwatch = aws_sdk_cloudwatch::Client::new(self.place.sdk());
        let name = format!("{NAME}-delivery");
        let described = async || -> Result<MetricAlarm, String> {
            let answer = cloudwatch.describe_alarms().alarm_names(&name).send().await.map_err(said)?;
            answer.metric_alarms.unwrap_or_default().pop().ok_or_else(|| format!("there is no alarm {name}"))
        };
        self.ledger.confirm("W6", "the printed policy, which names alarms, suffices to look at one");
        let alarm = described().await?;
        // By somebody else's hand.
        let put = cloudwatch.put_metric_alarm().alarm_name(&name).alarm_description("by hand");
        let put = put.set_metrics(alarm.metrics.clone()).set_comparison_operator(alarm.comparison_operator.clone());
        let put = put.set_evaluation_periods(alarm.evaluation_periods).set_threshold(alarm.threshold);
        put.tags(Tag::builder().key("hand").value("yes").build()).send().await.map_err(said)?;
        let shown = described().await?;
        if shown.alarm_description() == alarm.alarm_description() {
            self.ledger.confirm("W3", "right after the write the old description was shown");
        } else {
            self.ledger.not_reached("W3", "the new description was shown at once, this time");
        }
        let tags = cloudwatch.list_tags_for_resource().set_resource_arn(alarm.alarm_arn.clone());
        let tags = tags.send().await.map_err(said)?;
        let is_kept = tags.tags().iter().all(|tag| tag.key() != Some("hand"));
        self.ledger.is_so("W1", "the tags of before", is_kept, format!("{} tags", tags.tags().len()));
        self.ends(&format!("up {flags}"), 0).await?;
        self.ends(&format!("status {flags}"), 0).await.map(drop)
    }
}
