//! One signal that ends everything: fired by the operator (SIGTERM, SIGINT), a test, or a program that gives up.

use std::sync::Arc;

use tokio::sync::watch;

/// Fires the shutdown. Dropping the last clone fires as well, so that nothing outlives its owner.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<watch::Sender<bool>>);

/// Waits for the shutdown; clone one into every task.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A connected pair.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(Arc::new(sender)), Shutdown(receiver))
}

impl Trigger {
    /// Begins the shutdown. Further calls change nothing.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that SIGTERM and SIGINT fire. Needs a running tokio runtime.
    pub fn on_signals() -> Shutdown {
        let (trigger, shutdown) = channel();
        tokio::spawn(async move {
            match signal().await {
                Ok(name) => tracing::info!(signal = name, "shutting down"),
                Err(error) => {
                    // Without handlers the default action of both signals still ends the process.
                    tracing::error!(%error, "cannot listen for signals");
                    std::future::pending::<()>().await;
                }
            }
            trigger.fire();
        });
        shutdown
    }

    /// Returns once the shutdown has begun.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // An error means that every trigger is gone, which is a shutdown too.
        let _ = receiver.wait_for(|fired| *fired).await;
    }

    /// True once the shutdown has begun.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

async fn signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn firing_wakes_every_clone() {
        let (trigger, shutdown) = channel();
        let other = shutdown.clone();
        assert!(!shutdown.is_set());
        let waiting = tokio::spawn(async move { other.wait().await });
        trigger.fire();
        waiting.await.unwrap();
        shutdown.wait().await;
        assert!(shutdown.is_set());
    }

    #[tokio::test]
    async fn losing_the_last_trigger_counts_as_firing() {
        let (trigger, shutdown) = channel();
        let second = trigger.clone();
        drop(trigger);
        assert!(!shutdown.is_set());
        drop(second);
        shutdown.wait().await;
        assert!(shutdown.is_set());
    }
}
