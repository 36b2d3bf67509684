//! The command line: what can be asked, and how the answer is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use service::shutdown::Shutdown;

use crate::dns::{ResolverSpec, Resolvers};
use crate::events::deaf;
use crate::name::{ClientNet, ServiceName};
use crate::play::{Options, Source, play};
use crate::resolve::resolve;
use crate::session::Carrier;
use crate::story;

/// Signpost's reference client: resolve a routed service, race its servers, play, follow handoffs.
#[derive(Debug, Parser)]
#[command(name = "player", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask both levels: SRV records of a service, then the addresses of every target
    Resolve {
        /// Such as _rtsp._tcp.live.stream.example
        name: ServiceName,
        #[command(flatten)]
        dns: Dns,
        /// Print only the URL of the first server, for other players
        #[arg(long)]
        url: bool,
    },
    /// Play a service's title, or the title at an rtsp:// URL
    Play(Box<Play>),
}

#[derive(Debug, Args)]
struct Play {
    /// SRV name or rtsp:// URL
    source: Source,
    #[command(flatten)]
    dns: Dns,
    /// Title at the server, instead of the service's own label
    #[arg(long)]
    title: Option<String>,
    /// Stop after so many seconds of the title
    #[arg(long, value_parser = positive)]
    seconds: Option<f64>,
    /// Write the pictures to this file
    #[arg(long, value_name = "FILE.y4m")]
    out: Option<PathBuf>,
    /// tcp (inside the RTSP connection) or udp
    #[arg(long, default_value = "tcp")]
    transport: Carrier,
    /// Jitter buffer in milliseconds
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=10_000))]
    buffer: u64,
}

#[derive(Debug, Args)]
struct Dns {
    /// Name server, for all names or (ZONE=) for those under a zone; repeatable. Default: the system's
    #[arg(long = "resolver", value_name = "[ZONE=]IP:PORT")]
    resolvers: Vec<ResolverSpec>,
    /// Where we say we are: a network, such as 198.51.100.0/24
    #[arg(long, value_name = "NET")]
    client: Option<ClientNet>,
    /// One JSON object on the last line
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))?;
    let sensible = seconds > 0.0 && seconds <= 1e7;
    sensible
        .then_some(seconds)
        .ok_or_else(|| "must be more than 0".into())
}

impl Cli {
    /// Does what was asked; whether it went well. SIGTERM and SIGINT end a play early and in order.
    pub async fn run(self) -> bool {
        match self.command {
            Command::Resolve { name, dns, url } => resolve_command(&name, &dns, url).await,
            Command::Play(asked) => {
                let json = asked.dns.json;
                let listener = if json { deaf() } else { story::teller() };
                let report = play(asked.into_options(), listener, Shutdown::on_signals()).await;
                story::end(&report, json)
            }
        }
    }
}

impl Play {
    fn into_options(self) -> Options {
        Options {
            title: self.title,
            resolvers: self.dns.resolvers,
            client: self.dns.client,
            seconds: self.seconds,
            out: self.out,
            carrier: self.transport,
            buffer: Duration::from_millis(self.buffer),
            ..Options::new(self.source)
        }
    }
}

async fn resolve_command(name: &ServiceName, dns: &Dns, url: bool) -> bool {
    let mut rng: rand::rngs::StdRng = rand::make_rng();
    let found = async {
        let resolvers = Resolvers::new(&dns.resolvers)?;
        resolve(&resolvers, name, dns.client.as_ref(), &mut rng).await
    };
    match found.await {
        Ok(set) if url => story::first_url(&set, name),
        Ok(set) => story::server_set(&set, dns.json),
        Err(error) => story::failure(&error.to_string(), dns.json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_forms_of_the_interface_are_understood_and_others_are_not() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "player resolve _rtsp._tcp.live.stream.example --resolver 127.0.0.1:5301 --json",
            "player resolve _rtsp._tcp.live.stream.example --client 198.51.100.0/24 --url",
            "player play rtsp://127.0.1.1:8554/live?mdc=1 --seconds 5 --out x.y4m --transport udp",
            "player play _rtsp._tcp.live.stream.example --resolver stream.example=127.0.0.1:5301 \
             --resolver edge.stream.example=127.0.0.1:5302 --title other --json",
        ] {
            assert!(parses(&line.replace("  ", "")), "{line}");
        }
        for line in [
            "player play http://127.0.0.1/live",
            "player play live.stream.example",
            "player play rtsp://127.0.0.1/live --seconds -1",
            "player resolve _rtsp._tcp.live.stream.example --resolver 127.0.0.1",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
