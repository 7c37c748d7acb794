"""What must hold of a set of Kubernetes objects, beyond the types of the API:
that names meet, and that nothing has more rights than it needs."""

import collections

import yaml

from settings import (GRPC_PORT, HTTP_PORT, UID, WATCHDOG_SECONDS, cores,
                      seconds)


def by_kind(objects):
    kinds = collections.defaultdict(list)
    for item in objects:
        kinds[item["kind"]].append(item)
    return kinds


def matches(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def pod_specs(kinds):
    for owner in kinds["StatefulSet"]:
        yield owner, owner["spec"]["template"]["spec"]
    for pod in kinds["Pod"]:
        yield pod, pod["spec"]


def check_rights(case, spec):
    case.assertIs(spec["automountServiceAccountToken"], False)
    case.assertIs(spec["enableServiceLinks"], False)
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        case.assertFalse(spec.get(key))
    pod = spec["securityContext"]
    case.assertIs(pod["runAsNonRoot"], True)
    case.assertEqual(
        [pod[key] for key in ("runAsUser", "runAsGroup", "fsGroup")], [UID] * 3)
    case.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
    for container in spec["containers"]:
        context = container["securityContext"]
        case.assertIs(context["allowPrivilegeEscalation"], False)
        case.assertIs(context["privileged"], False)
        case.assertIs(context["readOnlyRootFilesystem"], True)
        case.assertEqual(context["capabilities"], {"drop": ["ALL"]})
        case.assertLessEqual({"cpu", "memory"},
                             set(container["resources"]["limits"]))
        case.assertNotRegex(container["image"], r"(:latest|[^:@]+/[^:@]+)$")


def check_volumes(case, spec, templates, config_maps):
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    case.assertFalse(set(volumes) & templates)
    mounted = set()
    for container in spec["containers"]:
        paths = [m["mountPath"] for m in container.get("volumeMounts", [])]
        case.assertEqual(len(paths), len(set(paths)))
        for mount in container.get("volumeMounts", []):
            mounted.add(mount["name"])
            # Only data and scratch may be written.
            writable = mount["name"] in ("data", "tmp")
            case.assertEqual(not mount.get("readOnly", False), writable, mount)
    case.assertEqual(mounted, set(volumes) | templates)
    for volume in volumes.values():
        if "configMap" in volume:
            case.assertIn(volume["configMap"]["name"], config_maps)
    return volumes


def check_probes(case, container):
    case.assertEqual({p["name"]: p["containerPort"] for p in container["ports"]},
                     {"grpc": GRPC_PORT, "http": HTTP_PORT})
    for probe, path in (("startupProbe", "/readyz"),
                        ("readinessProbe", "/readyz"),
                        ("livenessProbe", "/livez")):
        case.assertEqual(container[probe]["httpGet"],
                         {"path": path, "port": "http"})


def check_server(case, server, config_maps):
    """The configuration of the one server, as quantd reads it."""
    case.assertEqual(server["spec"]["replicas"], 1)
    spec = server["spec"]["template"]["spec"]
    case.assertEqual(len(spec["containers"]), 1)
    container = spec["containers"][0]
    check_probes(case, container)
    templates = {t["metadata"]["name"]
                 for t in server["spec"]["volumeClaimTemplates"]}
    volumes = check_volumes(case, spec, templates, config_maps)
    environment = {e["name"]: e["value"] for e in container["env"]}
    where = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    case.assertEqual(environment["QUANT_CONFIG"], f"{where['config']}/quantd.yaml")
    text = config_maps[volumes["config"]["configMap"]["name"]]["quantd.yaml"]
    config = yaml.safe_load(text)
    for name, value in environment.items():
        config[name.removeprefix("QUANT_").lower().replace("_", "-")] = value
    case.assertEqual(config["listen"], f"0.0.0.0:{GRPC_PORT}")
    case.assertEqual(config["http-listen"], f"0.0.0.0:{HTTP_PORT}")
    case.assertEqual(config["data-dir"], where["data"])
    pause, wait = container["lifecycle"]["preStop"]["exec"]["command"]
    case.assertEqual(pause, "sleep")
    case.assertGreaterEqual(
        spec["terminationGracePeriodSeconds"],
        int(wait) + seconds(config["drain-timeout"]) + WATCHDOG_SECONDS)
    case.assertLessEqual(config["workers"] * config["threads"],
                         cores(container["resources"]["limits"]["cpu"]))
    has_tls = "tls" in where
    case.assertEqual("tls-cert" in config, has_tls)
    case.assertEqual(config.get("insecure") in (True, "true"), not has_tls)
    for key in {"tls-cert", "tls-key", "tls-client-ca"} & set(config):
        case.assertTrue(config[key].startswith(where["tls"] + "/"))
    # Encrypted, but open to everybody, is nothing that we offer.
    case.assertEqual(bool({"tls-client-ca", "auth-file"} & set(config)), has_tls)
    case.assertEqual("auth-file" in config, "auth" in where)
    if "auth" in where:
        case.assertEqual(config["auth-file"], where["auth"] + "/auth")
    case.assertEqual(config.get("model-root"), where.get("models"))
    return text


def check_services(case, kinds, server):
    labels = server["spec"]["template"]["metadata"]["labels"]
    ports = {p["name"] for p in
             server["spec"]["template"]["spec"]["containers"][0]["ports"]}
    headless = []
    for service in kinds["Service"]:
        case.assertTrue(matches(service["spec"]["selector"], labels))
        for port in service["spec"]["ports"]:
            case.assertIn(port["targetPort"], ports)
        if service["spec"].get("clusterIP") == "None":
            headless.append(service["metadata"]["name"])
        else:  # metrics never face the outside
            case.assertEqual([p["name"] for p in service["spec"]["ports"]],
                             ["grpc"])
    case.assertEqual(headless, [server["spec"]["serviceName"]])
    for monitor in kinds["ServiceMonitor"]:
        found = [s for s in kinds["Service"] if matches(
            monitor["spec"]["selector"]["matchLabels"], s["metadata"]["labels"])]
        for endpoint in monitor["spec"]["endpoints"]:
            case.assertEqual(endpoint["path"], "/metrics")
            case.assertIn({"targetLabel": "job", "replacement": "quantd"},
                          endpoint["relabelings"])
            scraped = [s["metadata"]["name"] for s in found if endpoint["port"]
                       in [p["name"] for p in s["spec"]["ports"]]]
            case.assertEqual(scraped, headless)  # once


def check_policies(case, kinds, server):
    labels = server["spec"]["template"]["metadata"]["labels"]
    budget, = kinds["PodDisruptionBudget"]
    case.assertEqual(budget["spec"]["maxUnavailable"], 1)
    case.assertTrue(matches(budget["spec"]["selector"]["matchLabels"], labels))
    policy, = kinds["NetworkPolicy"]
    case.assertTrue(matches(policy["spec"]["podSelector"]["matchLabels"], labels))
    case.assertEqual(policy["spec"]["policyTypes"], ["Ingress", "Egress"])
    case.assertFalse(policy["spec"].get("egress"))
    opened = [port["port"] for rule in policy["spec"]["ingress"]
              for port in rule["ports"]]
    case.assertEqual(opened, ["grpc", "http"])
    for rule in policy["spec"]["ingress"]:
        case.assertTrue(rule["from"])  # an empty list would mean everybody


def check_all(case, objects):
    """Returns the text of the server's configuration."""
    kinds = by_kind(objects)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    case.assertEqual(len(names), len(set(names)))
    config_maps = {c["metadata"]["name"]: c["data"] for c in kinds["ConfigMap"]}
    accounts = {a["metadata"]["name"] for a in kinds["ServiceAccount"]}
    for _, spec in pod_specs(kinds):
        check_rights(case, spec)
    server, = kinds["StatefulSet"]
    case.assertIn(server["spec"]["template"]["spec"]["serviceAccountName"],
                  accounts)
    case.assertTrue(matches(server["spec"]["selector"]["matchLabels"],
                            server["spec"]["template"]["metadata"]["labels"]))
    text = check_server(case, server, config_maps)
    check_services(case, kinds, server)
    check_policies(case, kinds, server)
    return text
