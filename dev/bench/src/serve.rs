//! Our servers from within this program: for tests of the bench itself. Figures are taken with the real programs.

use std::path::Path;

use service::shutdown::Shutdown;

use crate::site::Level;

/// Serves until SIGTERM.
pub(crate) fn run(program: &str, config: &Path) -> anyhow::Result<()> {
    service::logs::init("bench");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals();
        let running = if program == Level::L1.program() {
            let config = nameserver_l1::Config::load(config)?;
            nameserver_l1::start(config, shutdown).await?
        } else {
            let config = nameserver_l2::Config::load(config)?;
            nameserver_l2::start(config, shutdown).await?
        };
        running.wait().await
    })
}
