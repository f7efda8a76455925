# SPDX-License-Identifier: BSD-3-Clause
"""What discover_topology() finds: NICs, GPUs and their links, and which sources there are."""

import argparse
import json

import dlslime


def nic_line(nic):
    ports = ", ".join(f"port {p['port']} {p['state']} {p['link_type']}" for p in nic["ports"])
    return (f"  {nic['name']}: {nic['health']}, NUMA node {nic['numa_node']}, "
            f"{nic['pci_bus_id']}, {ports}")


def gpu_line(gpu):
    return (f"  {gpu['device_index']}: {gpu['name']}, {gpu['uuid']}, {gpu['pci_bus_id']}, "
            f"NUMA node {gpu['numa_node']}, {gpu['health']}")


def edge_line(edge):
    able = "can" if edge["access_supported"] else "cannot"
    return f"  {edge['source_uuid']} {able} reach {edge['target_uuid']}"


def link_line(link):
    state = "active" if link["active"] else "inactive"
    return f"  {link['gpu_uuid']} link {link['link_index']}: {state}, to {link['remote_type']}"


def show(title, items, line):
    print(f"{title}: {len(items)}")
    for item in items:
        print(line(item))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the document as it is")
    args = parser.parse_args()
    topology = dlslime.discover_topology()
    if args.json:
        print(json.dumps(topology, indent=2))
        return
    print(f"host: {topology['host']['hostname']} ({topology['host']['address']})")
    for name, state in topology["topology_backends"].items():
        print(f"source {name}: {state}")
    show("NICs", topology["nics"], nic_line)
    show("GPUs", topology["accelerators"], gpu_line)
    # Only there when a CUDA driver answers.
    show("GPUs that reach each other", topology.get("cuda_p2p_edges", []), edge_line)
    show("NVLinks", topology.get("nvlink_links", []), link_line)


if __name__ == "__main__":
    main()
