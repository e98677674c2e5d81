output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Its addresses."
  value       = aws_vpc.this.cidr_block
}

output "public_subnet_ids" {
  description = "Subnets for load balancers."
  value       = [for subnet in aws_subnet.public : subnet.id]
}

output "private_subnet_ids" {
  description = "Subnets for tasks and for the registry."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "database_cidrs" {
  description = "Zone to addresses that are kept free for tenants' databases; for the region module."
  value       = { for zone, block in local.blocks : zone => block.database }
}

output "private_route_table_ids" {
  description = "Zone to route table of its private subnet; for routes to other regions."
  value       = { for zone, table in aws_route_table.private : zone => table.id }
}
