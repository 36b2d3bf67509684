//! What every program needs: configuration with diagnostics, logs, shutdown, the admin port.
