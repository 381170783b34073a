"""What was measured, for reading."""

import statistics

from revocation import tables


def table(head, rows):
    if not rows:
        return
    texts = [head, *([f"{c:,.1f}" if isinstance(c, float) else str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    print()
    for row in texts:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())


def load_cells(row):
    """What every row of load has in common."""
    return [
        f"{row['per_second']:,.0f}", row["p50_ms"], row["p99_ms"], row["cpu_us"],
        f"({row['cpu_us_min']:,.1f} - {row['cpu_us_max']:,.1f})", row["database_us"] or "-",
        f"{1e6 / row['cpu_us']:,.0f}" if row["cpu_us"] else "-", 100 * row["server_busy"],
        100 * row["others_on_core"], 100 * row["generator_busy"], f"{row['written_bytes']:,.0f}",
        f"FAILED: {row['errors']} errors {row['first_refusal']}" if row["failed"] else "",
    ]


LOAD_HEAD = ["per s", "p50 ms", "p99 ms", "CPU us", "(min - max)", "database us", "per CPU s", "server core %",
             "others %", "wrk core %", "disk B", ""]


def report(result):
    about = result["machine"]
    print(f"\n{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}; {about['wrk']}")
    print(f"load average before: {about['load_average_before']:.2f}; data directory on {about['data_on']}, "
          f"fdatasync p50 {about['fdatasync_ms']['p50']:.2f} ms, p90 {about['fdatasync_ms']['p90']:.2f} ms")
    servers = result.get("servers", {})
    for name, facts in servers.items():
        print(f"{name}: {facts['version']}")
    for path in result["debug_builds"]:
        print(f"NOTE: {path} is a debug build; its numbers say nothing about a release build")

    table(["", "start, fresh ms", "start, existing ms", "idle MiB", "after load MiB", "peak MiB", "on disk MiB"],
          [[name, statistics.median(f["fresh_ms"]), statistics.median(f["existing_ms"]), f["idle_mib"],
            f.get("loaded_mib", "-"), f.get("peak_mib", "-"), f["installed_mib"]] for name, f in servers.items()])

    table(["", "server", "alg", "connections", *LOAD_HEAD],
          [[r["what"], r["server"], r["alg"], r["connections"], *load_cells(r)] for r in result["load"]])
    for row in result["load"]:
        if "client_us" in row:
            print(f"{row['what']}: a proof costs its client {row['client_us']:,.1f} us of CPU (Node), made in advance")

    fewest = result.get("clients", [{}])[0]
    table(["clients", "start ms", "idle MiB", "B/client", *LOAD_HEAD],
          [[f"{r['clients']:,}", r["start_ms"], r["idle_mib"], per_client(r, fewest), *load_cells(r)]
           for r in result.get("clients", [])])

    for head, rows in tables(result.get("revocation", [])):
        table(head, rows)

    table(["verification", "alg", "CPU us/token", "tokens/CPU s"],
          [[r["verifier"], r["alg"], r["cpu_us"], f"{1e6 / r['cpu_us']:,.0f}"] for r in result.get("verification", [])])

    print()
    for entry in result["ratios"]:
        value = "not measured" if entry["ratio"] is None else f"{entry['ratio']:.2f}"
        print(f"{entry['what']}: {value}")


def per_client(row, fewest):
    """Bytes of memory that one more client takes, once the process itself is taken off."""
    more = row["clients"] - fewest["clients"]
    return f"{(row['idle_mib'] - fewest['idle_mib']) * 2**20 / more:,.0f}" if more >= 10_000 else "-"


def ratio(rows, mine, theirs, **where):
    """How many times the peer's work per CPU second ours does, or None when one is missing or failed."""
    def cost(name):
        found = [r["cpu_us"] + r.get("database_us", 0) for r in rows if name in (r.get("server"), r.get("verifier"))
                 and all(r[k] == v for k, v in where.items()) and not r.get("failed")]
        return found[0] if found else None
    ours, peers = cost(mine), cost(theirs)
    return peers / ours if ours and peers else None


def ratios(load, verification):
    found = []
    for row in load:
        if row["server"] == "oidc-provider":
            where = {"what": row["what"], "alg": row["alg"], "connections": row["connections"]}
            for mine in ("writ", "writ-postgres"):
                found.append({"what": f"{mine} : oidc-provider, {row['what']}, answers per CPU second, the database's "
                                      f"included, {row['alg']}, {row['connections']} connections",
                              "ratio": ratio(load, mine, "oidc-provider", **where)})
    return found + [
        {"what": f"writ-resource : jose, tokens verified per CPU second, {r['alg']}",
         "ratio": ratio(verification, "writ-resource", "jose", alg=r["alg"])}
        for r in verification if r["verifier"] == "jose"
    ]
