output "url" {
  description = "URL of the API."
  value       = "https://${var.host}"
}

output "load_balancer" {
  description = "Address and names for metrics of the load balancer; the record of `host` points there."
  value       = module.api.load_balancer
}

output "security_group_ids" {
  description = "Security groups of the tasks, by a name for people; registry and databases let them in."
  value       = { "control plane's API" = module.api.security_group_id, "control plane's workers" = module.worker.security_group_id }
}

output "services" {
  description = "Names of the services; for alarms."
  value       = [module.api.name, module.worker.name]
}

output "context_add_command" {
  description = "Command line that tells the CLI of this fleet. The API key comes from standard input."
  value       = "fleet context add ${split(".", var.host)[0]} --url https://${var.host} --token-stdin"
}
