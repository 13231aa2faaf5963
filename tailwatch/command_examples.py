"""The examples below the flags in each command's --help, by the command's name."""

from typing import Final

EXAMPLES: Final = {
    "tailwatch": """\
examples:
  tailwatch demo                                  agent, collector and API on this host's own telemetry
  tailwatch query hiccup_us -q 0.99 --start -1m   one quantile of the last minute
  tailwatch config check tailwatch.yaml           every mistake in a file, with line and nearest known key
""",
    "demo": """\
examples:
  tailwatch demo
  tailwatch demo --port 18080 --data ./demo-data --seconds 60
  tailwatch demo --kafka 127.0.0.1:9092
""",
    "run": """\
examples:
  tailwatch {part} run --config tailwatch.yaml
  tailwatch {part} run --config tailwatch.yaml --set {assignment}
  {variable} tailwatch {part} run
""",
    "agent plan": """\
examples:
  tailwatch agent plan --config tailwatch.yaml
  tailwatch agent plan --config tailwatch.yaml --budget 0.2 --seconds 20
  tailwatch agent plan --config tailwatch.yaml --json --no-api
""",
    "query": """\
examples:
  tailwatch query hiccup_us -q 0.5 -q 0.99 --start -5m
  tailwatch query api_request_us -q 0.99 --by route --where host:web-7 --start -1h --step 1m
  tailwatch query api_request_us --where 'route=~/api/.*' --output csv
  tailwatch query hiccup_us --output json --url http://127.0.0.1:18080
""",
    "hosts": """\
examples:
  tailwatch hosts
  tailwatch hosts --state silent --prefix rack7-
""",
    "check": """\
examples:
  tailwatch config check tailwatch.yaml && systemctl reload tailwatch-agent
""",
    "show": """\
examples:
  tailwatch config show --config tailwatch.yaml --set api.port=9000
""",
    "create": """\
examples:
  tailwatch topic create --config tailwatch.yaml
  tailwatch topic create --config tailwatch.yaml --partitions 12 --set transport.kafka.replication=3
""",
    "topic check": """\
examples:
  tailwatch topic check --config tailwatch.yaml
""",
    "upgrade": """\
examples:
  tailwatch db upgrade --config tailwatch.yaml
""",
    "key create": """\
examples:
  tailwatch key create grafana --config tailwatch.yaml
  tailwatch key create operator --scope read --scope admin --expires 90d
""",
    "key list": """\
examples:
  tailwatch key list --config tailwatch.yaml
""",
    "key revoke": """\
examples:
  tailwatch key revoke grafana --config tailwatch.yaml
""",
    "doctor": """\
examples:
  tailwatch doctor --config tailwatch.yaml
  tailwatch doctor --part agent --output json
""",
}
