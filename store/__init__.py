"""The SQL side: tables, migrations, exactly-once flushes and merged reads."""
