//! What API Gateway does with the messages of a route that has a schema.

use crate::clients::PATIENCE;
use crate::life::{Ended, Life};

impl Life<'_> {
    /// A model that comes, is taken off its route, and goes with the route.
    pub async fn held(&mut self) -> Ended {
        let (held, free) = self.app()?;
        let [held, free] = [held, free].map(|file| format!("--config {file}"));
        self.up(&held).await?;
        self.ends(&format!("status {held}"), 0).await?;
        let looked = match (self.place.no_clients(), self.place.sdk().endpoint_url()) {
            (Some(_), _) => Ok(()),
            (None, Some(_)) => {
                self.ledger.not_reached("G31", "an emulator holds no messages to a schema");
                Ok(())
            }
            (None, None) => self.look_at_refused_messages().await,
        };
        self.up(&free).await?;
        self.ends(&format!("status {free}"), 0).await?;
        self.up("").await?;
        self.ends("status", 0).await?;
        looked.map(|()| String::new())
    }

    async fn look_at_refused_messages(&mut self) -> Result<(), String> {
        let mut ada = self.connect().await?;
        let fits = self.answered(&mut ada, r#"{"action":"held","data":"it fits"}"#).await?;
        let other = self.answered(&mut ada, r#"{"action":"held","data":7}"#).await?;
        chatctl::websocket::close(ada, PATIENCE).await;
        let is_so =
            fits.as_deref() == Some("it fits") && other.as_deref().is_some_and(|it| it.contains("Bad request body"));
        let seen = format!("what fits is answered with {fits:?}, something else with {other:?}");
        self.ledger.is_so("G31", "`Bad request body` for what does not fit alone", is_so, seen);
        Ok(())
    }
}
