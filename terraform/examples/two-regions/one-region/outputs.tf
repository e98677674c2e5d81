output "network" {
  description = "The region's network."
  value       = module.network
}

output "region" {
  description = "The region's place for databases."
  value       = module.region
}

output "app" {
  description = "The region's tenant app."
  value       = module.app
}

output "alarms_topic_arn" {
  description = "Topic that the region's alarms are published to."
  value       = module.observability.topic_arn
}
