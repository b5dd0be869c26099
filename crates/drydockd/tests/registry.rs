//! A registry on one machine and who pulls from it on another.

use std::collections::BTreeMap;

use world::World;

mod world;

fn ok(world: &mut World, node: &str, commands: &str) -> String {
    let (status, printed) = world.sh_on(node, commands);
    assert_eq!(status, 0, "{commands}: {printed}");
    printed
}

/// Two machines; a registry on the first, with `busybox` as `mine`.
fn with_registry() -> World {
    let mut world = World::boot(BTreeMap::new());
    world.add_machine();
    ok(
        &mut world,
        "node1",
        "docker run -d -p 5000:5000 -e REGISTRY_STORAGE_DELETE_ENABLED=true --name registry registry:2
         until curl -sf localhost:5000/v2/; do sleep .2; done
         docker pull -q busybox; docker tag busybox localhost:5000/mine; docker push -q localhost:5000/mine",
    );
    world
}

#[test]
fn a_registry_without_tls_has_to_be_named() {
    let mut world = with_registry();
    let refused = "http: server gave HTTP response to HTTPS client";
    let (_, printed) = world.sh_on("node2", "docker pull 192.168.0.13:5000/mine");
    assert!(
        printed.contains(&format!("Get \"https://192.168.0.13:5000/v2/\": {refused}")),
        "{printed}"
    );
    let (_, printed) = world.sh_on(
        "node2",
        "docker login -u a -p b 192.168.0.13:5000; docker pull -q hello-world
         docker tag hello-world 192.168.0.13:5000/x; docker push 192.168.0.13:5000/x",
    );
    assert_eq!(printed.matches(refused).count(), 2, "{printed}");

    // The daemon sees the file as it is now.
    let printed = ok(
        &mut world,
        "node2",
        "mkdir -p /etc/docker; echo '{\"insecure-registries\": [\"192.168.0.13:5000\", \"10.1.0.0/16\"]}' > /etc/docker/daemon.json
         docker info | grep -A4 Insecure
         docker pull 192.168.0.13:5000/mine; docker run --rm 192.168.0.13:5000/mine echo runs
         docker push -q 192.168.0.13:5000/x; curl -s 192.168.0.13:5000/v2/_catalog",
    );
    for expected in [
        "  10.1.0.0/16\n",
        "  192.168.0.13:5000\n",
        "latest: Pulling from mine",
        ": Pull complete",
        "runs\n",
        "{\"repositories\":[\"mine\",\"x\"]}",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    // Another name of the same registry is another registry.
    let (_, printed) = world.sh_on("node2", "docker pull node1:5000/mine");
    assert!(printed.contains(refused), "{printed}");
    let printed = ok(
        &mut world,
        "node2",
        "echo '{\"insecure-registries\": [\"192.168.0.0/24\"]}' > /etc/docker/daemon.json; docker pull -q node1:5000/mine",
    );
    assert_eq!(printed, "node1:5000/mine:latest\n");

    // A file that is no configuration.
    let (_, printed) = world.sh_on(
        "node2",
        "echo '{\"insecure-registries\": ' > /etc/docker/daemon.json; docker info 2>&1 | grep -A1 ^WARN; docker pull node1:5000/mine",
    );
    assert!(
        printed.contains("WARNING: unable to configure the Docker daemon with file"),
        "{printed}"
    );
    assert!(printed.contains(refused), "{printed}");
    assert!(world.crashed.is_empty());
}

#[test]
fn mirrors_are_asked_before_docker_hub() {
    let mut world = with_registry();
    let printed = ok(
        &mut world,
        "node2",
        "mkdir -p /etc/docker; echo '{\"registry-mirrors\": [\"http://192.168.0.13:5000\"]}' > /etc/docker/daemon.json
         docker info | grep -A1 Mirrors; docker pull -q hello-world",
    );
    // What the mirror does not have is where it always was.
    assert!(printed.contains("http://192.168.0.13:5000/"), "{printed}");
    ok(
        &mut world,
        "node1",
        "docker tag busybox localhost:5000/library/only-here; docker push -q localhost:5000/library/only-here",
    );
    let printed = ok(
        &mut world,
        "node2",
        "docker pull only-here; docker run --rm only-here echo runs",
    );
    assert!(
        printed.contains("Status: Downloaded newer image for only-here:latest")
            && printed.contains("runs\n"),
        "{printed}"
    );
    // A mirror that is gone is passed over.
    ok(&mut world, "node1", "docker rm -f registry");
    let printed = ok(&mut world, "node2", "docker pull -q busybox");
    assert_eq!(printed, "docker.io/library/busybox:latest\n");
}

#[test]
fn two_pulls_of_an_image_download_it_once_and_a_cut_pull_leaves_nothing() {
    let mut world = with_registry();
    ok(
        &mut world,
        "node1",
        "docker pull -q nginx; docker tag nginx localhost:5000/web; docker push -q localhost:5000/web; docker tag nginx localhost:5000/web2; docker push -q localhost:5000/web2",
    );
    ok(
        &mut world,
        "node2",
        "mkdir -p /etc/docker; echo '{\"insecure-registries\": [\"192.168.0.13:5000\"]}' > /etc/docker/daemon.json",
    );
    let left = "docker images -q; ls /var/lib/docker/tmp /var/lib/docker/overlay2/l /var/lib/docker/image/overlay2/layerdb/sha256 | grep -v :; docker system df | grep Images";
    // The client goes away in the middle, at different places.
    for place in ["Pulling fs layer", "Download complete"] {
        let (_, printed) = world.sh_on(
            "node2",
            &format!("docker pull 192.168.0.13:5000/web | sed -n '/{place}/q'; sleep 1; {left}"),
        );
        let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 1, "{place}: {printed}");
        assert!(lines[0].contains("0B"), "{place}: {printed}");
    }
    let blobs = "docker logs registry 2>&1 | grep 'GET /v2/web.*/blobs/' | grep -c ' 200 '";
    let (_, before) = world.sh(blobs);
    let pulling = ["web", "web2", "web"]
        .map(|name| world.start("node2", &format!("docker pull 192.168.0.13:5000/{name}")));
    while pulling.iter().any(|pull| pull.status().is_none()) {
        world.step();
    }
    for pull in &pulling {
        let printed = String::from_utf8_lossy(&pull.stdout.borrow()).into_owned();
        assert!(
            printed.contains("Pull complete") && printed.contains("Status: "),
            "{printed}"
        );
    }
    let (_, after) = world.sh(blobs);
    let (_, layers) = world.sh("docker image inspect -f '{{len .RootFS.Layers}}' nginx");
    let number = |text: &str| text.trim().parse::<usize>().expect("a number");
    let layers = number(&layers);
    // The config three times, each layer once.
    assert!(
        number(&after) - number(&before) <= layers + 3,
        "{before} {after} {layers}"
    );
    let printed = ok(
        &mut world,
        "node2",
        "docker run --rm 192.168.0.13:5000/web nginx -v; docker rmi 192.168.0.13:5000/web 192.168.0.13:5000/web2 >/dev/null; docker system df | grep Images",
    );
    assert!(
        printed.contains("nginx version") && printed.contains("0B"),
        "{printed}"
    );
}

#[test]
fn a_manifest_is_deleted_over_the_api() {
    let mut world = with_registry();
    let printed = ok(
        &mut world,
        "node2",
        "digest=$(curl -sI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' node1:5000/v2/mine/manifests/latest | tr -d '\\r' | sed -n 's/^Docker-Content-Digest: //p')
         curl -s -o /dev/null -w '%{http_code}\\n' -X DELETE node1:5000/v2/mine/manifests/$digest
         curl -s node1:5000/v2/mine/tags/list",
    );
    assert_eq!(printed, "202\n{\"name\":\"mine\",\"tags\":null}\n");
    let (_, printed) = world.sh("docker pull localhost:5000/mine");
    assert!(
        printed.contains("manifest for localhost:5000/mine:latest not found: manifest unknown"),
        "{printed}"
    );
    // What the registry has forgotten is sent again.
    let (_, printed) = world.sh("docker push localhost:5000/mine; docker pull localhost:5000/mine");
    assert!(printed.contains("latest: digest: sha256:"), "{printed}");
    assert!(printed.contains("Image is up to date"), "{printed}");
}
