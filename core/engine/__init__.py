"""The async shell: owns tasks, queues and state, feeds the domain, talks to the ports."""
