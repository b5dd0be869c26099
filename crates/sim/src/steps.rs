//! What happens to the playground, a function a step. [`STEPS`] says how often each.
//!
//! A step knows what it has to come to: a command that fails where it must not is a failure of the run.

use anyhow::{Result, bail};
use clock::NANOS_PER_SEC;
use playground::Fault;

use crate::plan::Life;
use crate::soak::Soak;

/// Does something.
pub type Step = fn(&mut Soak) -> Result<()>;

/// Weights, names and functions.
pub const STEPS: [(u32, &str, Step); 20] = [
    (3, "kill", kill),
    (3, "stop", stop),
    (8, "start", start),
    (2, "restart", restart),
    (2, "recreate", recreate),
    (6, "murder", murder),
    (5, "exec", exec),
    (2, "pause", pause),
    (4, "unpause", unpause),
    (4, "bad cable", bad_cable),
    (2, "unplug", unplug),
    (2, "network", network),
    (2, "pull", pull),
    (3, "run", run),
    (1, "volume", volume),
    (2, "look", look),
    (1, "copy", copy),
    (2, "abandon", abandon),
    (2, "churn", churn),
    (1, "save", save),
];

/// Seconds that a server is let alone after it was hit: Docker waits before it starts one again.
const RECOVERY_S: u64 = 20;

impl Soak {
    /// A server in the state that `wanted` takes.
    fn choose(&mut self, wanted: impl Fn(Life) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.servers.len())
            .filter(|&index| wanted(self.servers[index].life))
            .collect();
        let at = self.below(fitting.len().max(1) as u64) as usize;
        fitting.get(at).copied()
    }

    fn choose_up(&mut self) -> Option<usize> {
        let now = self.world.now();
        self.choose(|life| matches!(life, Life::Up(since) if since <= now))
    }

    /// Runs commands on the machine of a server that is up, `NAME` being the server's name.
    fn with_up(&mut self, commands: &str, life: Option<Life>) -> Result<()> {
        let Some(index) = self.choose_up() else {
            return Ok(());
        };
        self.with(index, commands, life)
    }

    fn with(&mut self, index: usize, commands: &str, life: Option<Life>) -> Result<()> {
        let server = &self.servers[index];
        let (node, commands) = (server.node, commands.replace("NAME", &server.name));
        self.must(node, &commands)?;
        if let Some(life) = life {
            self.servers[index].life = life;
        }
        Ok(())
    }

    /// Up, but let alone for a while.
    fn recovering(&self) -> Life {
        Life::Up(self.world.now().plus(RECOVERY_S * NANOS_PER_SEC))
    }

    fn any_node(&mut self) -> usize {
        self.below(self.world.nodes.len() as u64) as usize
    }
}

fn kill(soak: &mut Soak) -> Result<()> {
    soak.with_up("docker kill NAME", Some(Life::Stopped))
}

fn stop(soak: &mut Soak) -> Result<()> {
    soak.with_up("docker stop -t 3 NAME", Some(Life::Stopped))
}

fn start(soak: &mut Soak) -> Result<()> {
    match soak.choose(|life| life == Life::Stopped) {
        Some(index) => {
            let life = soak.recovering();
            soak.with(index, "docker start NAME", Some(life))
        }
        None => Ok(()),
    }
}

fn restart(soak: &mut Soak) -> Result<()> {
    let life = soak.recovering();
    soak.with_up("docker restart -t 3 NAME", Some(life))
}

fn recreate(soak: &mut Soak) -> Result<()> {
    let Some(index) = soak.choose(|_| true) else {
        return Ok(());
    };
    let run = soak.servers[index].run();
    let life = soak.recovering();
    soak.with(index, &format!("docker rm -f NAME && {run}"), Some(life))
}

/// One of the server's processes dies; if it was the first, Docker starts the container again.
fn murder(soak: &mut Soak) -> Result<()> {
    let (which, life) = (soak.below(8), soak.recovering());
    let commands = format!(
        "set -e; pids=($(docker top NAME -eo pid | tail -n +2)); kill -KILL ${{pids[{which} % ${{#pids[@]}}]}}"
    );
    soak.with_up(&commands, Some(life))
}

fn exec(soak: &mut Soak) -> Result<()> {
    let top = 100 + soak.below(900);
    let commands = format!(
        "docker exec NAME sh -c 'i=0; while [ $i -lt {top} ]; do echo $i; i=$((i+1)); done' | tail -n 1"
    );
    let Some(index) = soak.choose_up() else {
        return Ok(());
    };
    let server = &soak.servers[index];
    let (node, commands) = (server.node, commands.replace("NAME", &server.name));
    let printed = soak.must(node, &commands)?;
    if printed.trim() != (top - 1).to_string() {
        bail!("exec printed {printed:?}");
    }
    Ok(())
}

fn pause(soak: &mut Soak) -> Result<()> {
    soak.with_up("docker pause NAME", Some(Life::Paused))
}

fn unpause(soak: &mut Soak) -> Result<()> {
    match soak.choose(|life| life == Life::Paused) {
        Some(index) => {
            let life = soak.recovering();
            soak.with(index, "docker unpause NAME", Some(life))
        }
        None => Ok(()),
    }
}

/// A machine's cable loses, delays, doubles and breaks frames for up to a minute.
fn bad_cable(soak: &mut Soak) -> Result<()> {
    let node = soak.any_node();
    let fault = Fault {
        delay_ns: soak.below(50) * 1_000_000,
        jitter_ns: soak.below(10) * 1_000_000,
        loss_ppm: soak.below(100_000) as u32,
        duplicate_ppm: soak.below(20_000) as u32,
        corrupt_ppm: soak.below(20_000) as u32,
        ..Fault::default()
    };
    let name = soak.world.nodes[node].clone();
    soak.note(&format!("{name}: {fault:?}"));
    soak.world.playground.lan().set_fault(&name, fault);
    soak.heal_later(node, 60);
    Ok(())
}

fn unplug(soak: &mut Soak) -> Result<()> {
    let node = soak.any_node();
    let name = soak.world.nodes[node].clone();
    soak.note(&format!("{name} unplugged"));
    soak.world.playground.lan().plug(&name, false);
    soak.heal_later(node, 20);
    Ok(())
}

fn network(soak: &mut Soak) -> Result<()> {
    soak.with_up(
        "set -e; docker network create side >/dev/null; docker network connect side NAME; \
         docker run --rm --network side busybox ping -c 1 -W 5 NAME | grep -c '1 packets received'; \
         docker network disconnect side NAME; docker network rm side",
        None,
    )
}

/// Images that are pulled and removed.
pub const PULLED: [&str; 3] = ["hello-world", "alpine", "registry"];

fn pull(soak: &mut Soak) -> Result<()> {
    let node = soak.any_node();
    let image = PULLED[soak.below(PULLED.len() as u64) as usize];
    let commands = format!("docker pull -q {image} && docker rmi {image} | wc -l");
    soak.must(node, &commands).map(drop)
}

fn run(soak: &mut Soak) -> Result<()> {
    let (node, code) = (soak.any_node(), soak.below(100));
    let commands = format!(
        "docker run --rm --network app -m 64m busybox sh -c 'head -c 300000 /dev/zero | md5sum >/tmp/x; exit {code}'; [ $? = {code} ]"
    );
    soak.must(node, &commands).map(drop)
}

fn volume(soak: &mut Soak) -> Result<()> {
    let node = soak.any_node();
    let commands = "set -e; docker volume create vol >/dev/null; docker run --rm -v vol:/data busybox sh -c 'seq 5000 >/data/f'; \
        docker run --rm -v vol:/data:ro busybox sh -c 'wc -l </data/f'; docker volume rm vol";
    soak.must(node, commands).map(drop)
}

/// Commands that only read.
fn look(soak: &mut Soak) -> Result<()> {
    soak.with_up(
        "set -e; docker logs --tail 3 NAME >/dev/null 2>&1; docker stats --no-stream >/dev/null; docker ps -aq | wc -l; \
         docker inspect NAME >/dev/null; ss -tan | wc -l >/dev/null; ip addr >/dev/null; cat /proc/[0-9]*/maps >/dev/null",
        None,
    )
}

fn copy(soak: &mut Soak) -> Result<()> {
    soak.with_up(
        "set -e; seq 20000 >/tmp/copied; docker cp -q /tmp/copied NAME:/tmp/copied; docker cp -q NAME:/tmp/copied - | tar tf -; rm /tmp/copied; \
         docker diff NAME | grep -c copied",
        None,
    )
}

/// Clients of the engine die in the middle of what they asked for.
fn abandon(soak: &mut Soak) -> Result<()> {
    let tenths = soak.below(9);
    let commands = format!(
        "(docker run --rm --name abandoned -i busybox sh -c 'sleep 100' & docker logs -f NAME & docker exec NAME sh -c 'sleep 3' & \
         docker events & docker pull alpine & docker stats & sleep 1.{tenths}; kill -9 $(jobs -p); wait) >/dev/null 2>&1; \
         sleep 4; docker rm -f abandoned >/dev/null 2>&1; docker rmi -f alpine >/dev/null 2>&1; true"
    );
    soak.with_up(&commands, None)
}

/// Short-lived processes, pipes, sockets and terminals of the machine itself.
fn churn(soak: &mut Soak) -> Result<()> {
    let node = soak.any_node();
    let commands = "for i in 1 2 3 4 5 6 7 8 9 10; do (seq 100 | sort -rn | head -1 >/dev/null) & done; wait; \
        timeout -s KILL 0.2 sleep 5; script -qc 'echo x' /dev/null >/dev/null; \
        (nc -l -p 9999 >/dev/null & sleep 0.2; echo hi | nc -N 127.0.0.1 9999; wait); mkfifo /tmp/p; (echo a >/tmp/p & cat /tmp/p; rm /tmp/p)";
    soak.must(node, commands).map(drop)
}

/// A database writes its file with a forked child.
fn save(soak: &mut Soak) -> Result<()> {
    let now = soak.world.now();
    let redis = (0..soak.servers.len()).find(|&index| {
        let server = &soak.servers[index];
        server.kind == crate::plan::Kind::Redis
            && matches!(server.life, Life::Up(since) if since <= now)
    });
    match redis {
        Some(index) => soak.with(
            index,
            "docker exec NAME sh -c 'redis-cli set saved 1 && redis-cli save && redis-cli bgsave'",
            None,
        ),
        None => Ok(()),
    }
}
