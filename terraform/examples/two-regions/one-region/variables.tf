variable "fleet_name" {
  description = "Name of the fleet."
  type        = string
}

variable "region" {
  description = "Name of the fleet's region."
  type        = string
}

variable "cidr" {
  description = "Addresses of the region's network."
  type        = string
}

variable "control_plane_url" {
  description = "URL of the control plane."
  type        = string
}

variable "app" {
  description = "The tenant app: its image by digest, the image's repository, the certificate for the region's domain."
  type        = object({ image = string, repository_arn = string, certificate_arn = string })
}

variable "servers" {
  description = "Servers to make at once; see the region module."
  type = map(object({
    instance_class = optional(string, "db.r7g.large")
    storage_gib    = optional(number, 100)
    standby        = optional(bool, true)
    tenant         = optional(string)
  }))
}

variable "database_clients" {
  description = "Who may connect to databases beside the app, by security group: the control plane, where it is in this region."
  type        = map(string)
  default     = {}
}

variable "database_client_networks" {
  description = "Who may connect to databases, by network: the control plane, where it is in another region."
  type        = map(string)
  default     = {}
}

variable "further_services" {
  description = "More services to watch."
  type        = list(string)
  default     = []
}

variable "further_load_balancers" {
  description = "More load balancers to watch."
  type        = map(object({ suffix = string, target_group = string }))
  default     = {}
}

variable "further_servers" {
  description = "More RDS instances to watch."
  type        = list(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether load balancers refuse to be deleted."
  type        = bool
  default     = true
}
