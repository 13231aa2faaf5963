"""What Grafana and rulers get from Tailwatch: a data source, dashboards and alert rules, declared once."""
