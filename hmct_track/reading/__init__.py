"""What is answered without measuring anything: comparing runs, inspecting models, old figures."""
