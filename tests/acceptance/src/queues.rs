//! What SQS and Lambda do with queues: looks at the deployment's own, and at one beside it that holds no message of a chat.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clients::{PATIENCE, hear};
use crate::ledger::{Refusal, said};
use crate::life::{Ended, Life, NAME};
use crate::place::Ran;

/// What SQS and API Gateway call alike: the queue that stands beside.
const QUEUE: &str = "acceptance-twin.fifo";

impl Life<'_> {
    pub async fn queued(&mut self) -> Ended {
        self.up("--delivery queue").await?;
        self.ends("status --delivery queue", 0).await?;
        let redriven = self.redriven().await;
        let ended = match self.place.lacks() {
            Some(why) => {
                for id in ["Q1", "Q2", "Q3", "Q4", "Q5", "Q7"] {
                    self.ledger.not_reached(id, why);
                }
                Ok(())
            }
            None => self.look_at_queues().await,
        };
        self.remove_queue().await?;
        self.up("").await?;
        self.ends("status", 0).await?;
        ended?;
        let redriven = redriven?;
        if self.place.lacks().is_none() {
            self.look_at_name().await?;
        }
        Ok(redriven)
    }

    /// A message that could not be delivered: put there by hand, told by `status`, sent again by `redrive`.
    async fn redriven(&mut self) -> Ended {
        let sqs = self.aws.sqs.clone();
        let url = async |name: &str| {
            let found = sqs.get_queue_url().queue_name(format!("{NAME}-{name}.fifo")).send().await.map_err(said)?;
            found.queue_url.ok_or_else(|| format!("the queue `{name}` has no URL"))
        };
        let (dead, waiting) = (url("dead-letters").await?, url("messages").await?);
        let host = self.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        // As `sendMessage` writes it.
        let message = json!({ "apiId": self.api().await?, "domainName": host, "stage": "prod", "text": "once more" });
        let body = message.to_string();
        let mut ada = if self.place.no_clients().is_none() { Some(self.connect().await?) } else { None };
        let send = sqs.send_message().queue_url(dead).message_group_id("chat").message_deduplication_id("by-hand");
        send.message_body(&body).send().await.map_err(said)?;
        let number = |ran: Ran, key: &str| {
            serde_json::from_str::<Value>(&ran.stdout)
                .ok()
                .and_then(|document| document[key].as_u64())
                .unwrap_or_default()
        };
        let began = Instant::now();
        // What SQS counts is late (Q2).
        while number(self.ends("status --delivery queue -o json", 0).await?, "deadLetters") != 1 {
            if began.elapsed() > Duration::from_secs(60) {
                return Err("`status` does not tell of the message that could not be delivered".to_owned());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let moved = number(self.ends("redrive --delivery queue -o json", 0).await?, "moved");
        let arrived = match &mut ada {
            Some(ada) => hear(ada).await,
            // Nobody works here, and a queue is removed only when it is empty.
            None => {
                let receive = sqs.receive_message().queue_url(&waiting);
                let receive = receive.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
                let received = receive.send().await.map_err(said)?;
                let message = received.messages.unwrap_or_default().pop().ok_or("nothing was sent again")?;
                let done = sqs.delete_message().queue_url(waiting).set_receipt_handle(message.receipt_handle);
                done.send().await.map_err(said)?;
                message.body.filter(|arrived| *arrived == body).map(|_| "once more".to_owned())
            }
        };
        if let Some(ada) = ada {
            chatctl::websocket::close(ada, PATIENCE).await;
        }
        let told = format!("{moved} sent again, {arrived:?} arrived");
        if moved == 1 && arrived.as_deref() == Some("once more") { Ok(told) } else { Err(told) }
    }

    async fn look_at_queues(&mut self) -> Result<(), String> {
        let (lambda, sqs) = (self.aws.lambda.clone(), self.aws.sqs.clone());
        let worker = format!("{NAME}-broadcast");
        let listed = lambda.list_event_source_mappings().function_name(&worker).send().await.map_err(said)?;
        let mapping = listed.event_source_mappings().first().ok_or("the worker has no mapping")?;
        let queue = mapping.event_source_arn().unwrap_or_default();
        let second = lambda.create_event_source_mapping().function_name(&worker).event_source_arn(queue).send().await;
        if let Ok(second) = &second {
            let _ = lambda.delete_event_source_mapping().set_uuid(second.uuid.clone()).send().await;
        }
        self.ledger.is_refused("Q4", &["ResourceConflictException"], &second);
        // Longer than the queue hides its messages.
        let longer = lambda.update_function_configuration().function_name(&worker).timeout(600).send().await;
        match longer.as_ref().map_err(Refusal::of) {
            Err(refusal) if refusal.message.to_lowercase().contains("visibility timeout") => {
                self.ledger.confirm("Q1", refusal.words());
            }
            Err(refusal) => self.ledger.not_reached("Q1", format!("refused otherwise: {}", refusal.words())),
            Ok(_) => self.ledger.not_reached("Q1", "a function's timeout may grow behind its mapping"),
        }
        let create = sqs.create_queue().queue_name(QUEUE).attributes(QueueAttributeName::FifoQueue, "true");
        let create = create.attributes(QueueAttributeName::VisibilityTimeout, "300");
        let made = create.send().await.map_err(said)?;
        let url = made.queue_url().unwrap_or_default();
        let arn = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
        let arn = arn.send().await.map_err(said)?;
        let arn = arn.attributes().and_then(|all| all.get(&QueueAttributeName::QueueArn)).cloned().unwrap_or_default();
        let function = format!("{NAME}-onConnect");
        let mapped = lambda.create_event_source_mapping().function_name(function).event_source_arn(arn).send().await;
        if let Ok(mapped) = &mapped {
            let _ = lambda.delete_event_source_mapping().set_uuid(mapped.uuid.clone()).send().await;
        }
        match mapped.as_ref().map_err(Refusal::of) {
            Err(refusal) if refusal.message.contains("permissions to call ReceiveMessage") => {
                self.ledger.confirm("Q3", refusal.words());
            }
            Err(refusal) => self.ledger.not_reached("Q3", format!("refused otherwise: {}", refusal.words())),
            Ok(_) => self.ledger.refute("Q3", "a refusal without the permission to receive", "the mapping was made"),
        }
        let send = |body: &str, id: &str| {
            let send = sqs.send_message().queue_url(url).message_group_id("chat").message_deduplication_id(id);
            send.message_body(body).send()
        };
        self.ledger.is_refused("Q5", &["InvalidMessageContents"], &send("\u{FFFE}", "character").await);
        for id in ["first", "second"] {
            send(id, id).await.map_err(said)?;
        }
        let receive = || sqs.receive_message().queue_url(url).max_number_of_messages(1).wait_time_seconds(5).send();
        let first = receive().await.map_err(said)?;
        let second = receive().await.map_err(said)?;
        let holds = first.messages().len() == 1 && second.messages().is_empty();
        let seen = format!("{} received, then {}", first.messages().len(), second.messages().len());
        self.ledger.is_so("Q7", "nothing while something of the group is out", holds, seen);
        Ok(())
    }

    /// Whether the name of a queue that has just been deleted may be taken.
    async fn look_at_name(&mut self) -> Result<(), String> {
        let create = self.aws.sqs.create_queue().queue_name(QUEUE).attributes(QueueAttributeName::FifoQueue, "true");
        let again = create.send().await;
        if again.is_ok() {
            self.remove_queue().await?;
        }
        match again.as_ref().map_err(Refusal::of) {
            Err(refusal) if refusal.code.contains("QueueDeletedRecently") => self.ledger.confirm("Q2", refusal.words()),
            Err(refusal) => self.ledger.not_reached("Q2", format!("refused otherwise: {}", refusal.words())),
            Ok(_) => self.ledger.refute("Q2", "a name that is taken for a minute", "the name was free at once"),
        }
        Ok(())
    }

    pub async fn remove_queue(&self) -> Result<(), String> {
        let Ok(found) = self.aws.sqs.get_queue_url().queue_name(QUEUE).send().await else { return Ok(()) };
        self.aws.sqs.delete_queue().set_queue_url(found.queue_url).send().await.map(drop).map_err(said)
    }
}
