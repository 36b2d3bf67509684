//! `player resolve` and `player play`: arguments in, a short story or one JSON object out.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use player::dns::{ResolverSpec, Resolvers};
use player::name::{ClientNet, ServiceName};
use player::play::{Options, Source, play};
use player::resolve::resolve;
use player::session::Carrier;
use player::story;
use service::shutdown::Shutdown;

/// Signpost's reference client: resolve a routed service, race its servers, play, follow handoffs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
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
    Play {
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
        out: Option<std::path::PathBuf>,
        /// tcp (inside the RTSP connection) or udp
        #[arg(long, default_value = "tcp")]
        transport: Carrier,
        /// Jitter buffer in milliseconds
        #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=10_000))]
        buffer: u64,
    },
}

#[derive(Args)]
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

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    service::logs::init("player");
    let ok = match cli.command {
        Command::Resolve { name, dns, url } => resolve_command(&name, &dns, url).await,
        Command::Play {
            source,
            dns,
            title,
            seconds,
            out,
            transport,
            buffer,
        } => {
            let options = Options {
                title,
                resolvers: dns.resolvers,
                client: dns.client,
                seconds,
                out,
                carrier: transport,
                buffer: Duration::from_millis(buffer),
                ..Options::new(source)
            };
            play_command(options, dns.json).await
        }
    };
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
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

async fn play_command(options: Options, json: bool) -> bool {
    let listener = if json {
        player::events::deaf()
    } else {
        story::teller()
    };
    let report = play(options, listener, Shutdown::on_signals()).await;
    story::end(&report, json)
}
