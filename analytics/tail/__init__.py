"""How much parallelism a service needs to meet its tail-latency target; pure: requests in, answers out.

Adaptive parallelism after TPC (Jeon et al., ASPLOS'16), Pred (SIGIR'14) and AP (EuroSys'13). Times are milliseconds
in float64, degrees are threads of one request, loads are sequential utilisations (work offered / hardware threads).
"""
