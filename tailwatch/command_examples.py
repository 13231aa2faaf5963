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
    "agent sources": """\
examples:
  tailwatch agent sources --config tailwatch.yaml
  tailwatch agent sources smart gpu
  tailwatch agent sources --config tailwatch.yaml --json
""",
    "gpu report": """\
examples:
  tailwatch gpu report cluster_job_log
  tailwatch gpu report ./cluster-trace-gpu-v2020 --utilisation --plots ./plots
  tailwatch gpu report attempts.csv --output json
""",
    "ssd train": """\
examples:
  tailwatch ssd train drives.parquet --out drives.model
  tailwatch ssd train drives.parquet --out drives.model --horizons 7,30 --seed 1 --origin our-fleet-2025
""",
    "ssd evaluate": """\
examples:
  tailwatch ssd evaluate drives.parquet --horizon 30
  tailwatch ssd evaluate drive-stats.csv.gz --horizon 10 --seeds 3
  tailwatch ssd evaluate new-days.parquet --horizon 30 --model drives.model --json
""",
    "ssd install": """\
examples:
  tailwatch ssd install drives.model --config tailwatch.yaml
  tailwatch ssd install newer.model --shadow --config tailwatch.yaml
""",
    "ssd models": """\
examples:
  tailwatch ssd models --config tailwatch.yaml
  tailwatch ssd models --output json --config tailwatch.yaml
""",
    "ssd promote": """\
examples:
  tailwatch ssd promote --on newest.parquet --config tailwatch.yaml
  tailwatch ssd promote --force --because rollback --config tailwatch.yaml
""",
    "ssd export": """\
examples:
  tailwatch ssd export drives.parquet --config tailwatch.yaml
""",
    "ssd explain": """\
examples:
  smartctl --json -x /dev/nvme0 > today.json && tailwatch ssd explain today.json
  tailwatch ssd explain monday.json tuesday.json today.json --model drives.model
  tailwatch ssd explain drives.parquet --drive S3Z9NX0M --json
""",
    "ssd score": """\
examples:
  tailwatch ssd score drives.parquet --model drives.model --top 10
  tailwatch ssd score drive-stats.csv.gz --top 0 --csv
""",
    "gpu rules check": """\
examples:
  tailwatch gpu rules check our-rules.yaml
  tailwatch gpu rules check our-rules.yaml --output json
""",
    "gpu rules query": """\
examples:
  tailwatch gpu rules query --layout kubernetes --output yaml
  tailwatch gpu rules query --job '/runs/([^/]+)/' --rank '/rank(\\d+)\\.log$'
  tailwatch gpu rules query --rules our-rules.yaml --output json
""",
    "gpu rules list": """\
examples:
  tailwatch gpu rules list --category infrastructure
  tailwatch gpu rules list gpu-oom-torch
  tailwatch gpu rules list --rules our-rules.yaml --output json
""",
    "gpu retry-advice": """\
examples:
  tailwatch gpu retry-advice attempts.csv
  tailwatch gpu retry-advice attempts.json --state retry.state --learn --output json
  tailwatch gpu retry-advice --state retry.state --roll-back 7
""",
    "tail simulate": """\
examples:
  tailwatch tail simulate --workload bing-like --loads 0.15,0.3,0.45,0.6,0.7,0.8
  tailwatch tail simulate --workload times.csv --threads 32 --workers 64 --fan-out 40
  tailwatch tail simulate --loads 0.3,0.6 --requests 500000 --seeds 8 --plot policies.png --output json
""",
    "tail learn": """\
examples:
  tailwatch tail learn requests.parquet --threads 12 --out profile.json
  tailwatch tail learn monday.csv.gz tuesday.csv.gz --threads 12 --max-degree 6 --class-edges 30,80 --plot speedups.png
  tailwatch tail learn requests.parquet --threads 12 --features terms,postings --long-ms 80 --model predictor.bin
""",
    "tail whatif": """\
examples:
  tailwatch tail whatif requests.parquet --threads 12 --workers 24 --current predictive:3:80 --candidate ramp-up:10
  tailwatch tail whatif requests.parquet --threads 12 --current predictive:3:80 --search --out tpc.json
  tailwatch tail whatif requests.ndjson.gz --threads 12 --candidate tpc.json --load-multiplier 1.2 --fan-out 40
""",
    "tail attribute": """\
examples:
  tailwatch tail attribute requests.parquet --threads 12 --target-ms 80
  tailwatch tail attribute requests.csv --threads 12 --target-ms 80 --profile profile.json --plot causes.svg
""",
    "tail services": """\
examples:
  tailwatch tail services
  tailwatch tail services --output json
""",
    "tail services objective": """\
examples:
  tailwatch tail services objective search
  tailwatch tail services objective search --percentile 0.99 --target-ms 80 --threads 12 --workers 24 --max-degree 6
""",
    "tail services alerts": """\
examples:
  tailwatch tail services alerts
  tailwatch tail services alerts search --all
""",
    "tail services alert-history": """\
examples:
  tailwatch tail services alert-history search --start -1d
""",
    "tail services learn": """\
examples:
  tailwatch tail services learn search --start -1d
""",
    "tail services what-if": """\
examples:
  tailwatch tail services what-if search --candidate predictive:3:80
  tailwatch tail services what-if search --table 2 --load-multiplier 1.2
""",
    "tail services search": """\
examples:
  tailwatch tail services search search --start -1d --note 'after the new index'
""",
    "tail services runs": """\
examples:
  tailwatch tail services runs search
""",
    "tail services cancel": """\
examples:
  tailwatch tail services cancel search 5f0c2b7a11e94f3d
""",
    "tail services tables": """\
examples:
  tailwatch tail services tables search
""",
    "tail services activate": """\
examples:
  tailwatch tail services activate search 2 --note 'p99 shorter by a fifth'
""",
    "tail services roll-back": """\
examples:
  tailwatch tail services roll-back search --note 'mean too long'
""",
    "gpu failures": """\
examples:
  tailwatch gpu failures --start -1d
  tailwatch gpu failures --category infrastructure --node gpu-17
  tailwatch gpu failures --status abstained --output json
""",
    "gpu attempts": """\
examples:
  tailwatch gpu attempts attempts.csv
  sacct ... | tailwatch gpu attempts -
""",
    "gpu simulate": """\
examples:
  tailwatch gpu simulate
  tailwatch gpu simulate --seed 7 --jobs 10000 --output json
""",
    "gpu classify": """\
examples:
  tailwatch gpu classify rank0.log rank1.log messages
  tailwatch gpu classify --output json job.log -
  tailwatch gpu classify --exit-code 1 --nodes 'gpu[01-04]' --start 2026-05-04T12:00:00Z logs/
  tailwatch gpu classify --labels labels.csv logs/
""",
    "gpu unknowns": """\
examples:
  tailwatch gpu unknowns failed/ --passed passed/
  tailwatch gpu unknowns failed/ --passed passed/ --draft 1 --reason ib_network
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
    "drives": """\
examples:
  tailwatch drives
  tailwatch drives --state replace,watch --output json
  tailwatch drives --model 850-PRO --sort wear --limit 20
""",
    "drives show": """\
examples:
  tailwatch drives show S2R4NX0J512345
""",
    "acknowledge": """\
examples:
  tailwatch drives acknowledge S2R4NX0J512345 --note ordered
  tailwatch drives acknowledge S2R4NX0J512345 --cause probability --until now+14d
""",
    "unacknowledge": """\
examples:
  tailwatch drives unacknowledge S2R4NX0J512345 --cause probability
""",
    "mute": """\
examples:
  tailwatch drives mute crc_total --drive S2R4NX0J512345 --note 'a bad cable, ordered'
  tailwatch drives mute crc_total --model 'SSD 850 PRO' --until now+14d
""",
    "unmute": """\
examples:
  tailwatch drives unmute crc_total --drive S2R4NX0J512345
  tailwatch drives unmute --fleet
""",
    "mutes": """\
examples:
  tailwatch drives mutes
""",
    "outcome": """\
examples:
  tailwatch drives outcome S2R4NX0J512345 failed --day 2026-11-22
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
    "backup": """\
examples:
  tailwatch db backup /var/backups/tailwatch.db --config tailwatch.yaml
""",
    "key create": """\
examples:
  tailwatch key create grafana --config tailwatch.yaml
  tailwatch key create operator --scope read --scope admin --expires 90d
  tailwatch key create grafana --key-path /run/secrets/grafana-key
""",
    "key list": """\
examples:
  tailwatch key list --config tailwatch.yaml
""",
    "key revoke": """\
examples:
  tailwatch key revoke grafana --config tailwatch.yaml
""",
    "export": """\
examples:
  tailwatch grafana export ./grafana --config tailwatch.yaml
  tailwatch grafana export ./grafana --set grafana.api_url=http://api:8080
  tailwatch grafana export ./grafana --config tailwatch.yaml --check
""",
    "apply": """\
examples:
  tailwatch grafana apply --config tailwatch.yaml
  TAILWATCH_GRAFANA_TOKEN=glsa_... tailwatch grafana apply --url http://127.0.0.1:3000 --yes
  tailwatch grafana apply --config tailwatch.yaml --dry-run --force
""",
    "diff": """\
examples:
  tailwatch grafana diff --config tailwatch.yaml
  tailwatch grafana diff --config tailwatch.yaml --url https://grafana.example
""",
    "doctor": """\
examples:
  tailwatch doctor --config tailwatch.yaml
  tailwatch doctor --part agent --output json
""",
}
